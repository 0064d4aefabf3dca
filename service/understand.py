"""A body to the reads in it, and the form in which they are to be answered."""

from dataclasses import asdict
from functools import partial
from typing import Protocol

from reads import wire
from reads.read import Calibration, Read, Signal
from service.answers import FORMS, Answer, Refusal
from service.errors import ImpossibleRequestError, MalformedRequestError
from service.inference import understand_inference
from service.request import INFERENCE, Wanted, as_problem
from service.served import ServedModel
from service.service import Service
from service.unpacker import Grow, Unpacked

LARGE_JSON_BYTES = 64 * 1024
"""What is larger is understood in the background, so that other requests are not held up."""


class WholeForm(Protocol):
    """How the answer to one read becomes a body."""

    @property
    def media_type(self) -> str:
        """The media type."""

    def whole(self, answer: Answer) -> tuple[bytes, list[tuple[str, str]]]:
        """Return the body, and the header fields that go with it."""


async def understand(
    service: Service, wanted: Wanted, model: ServedModel, body: bytearray, name: str
) -> tuple[Read, WholeForm]:
    """Return the read of a body of one, called `name` where it says no other, and the form that its call is
    wanted in. Raises Problem."""
    form: WholeForm = FORMS[wanted.answer_type]
    words = wanted.words
    json_bytes = len(body) if wanted.json_bytes is None else wanted.json_bytes
    try:
        if wanted.body_type == wire.OCTET_STREAM:
            signal = wire.signal_from_bytes(body)
        elif wanted.body_type == INFERENCE:
            read_inference = partial(understand_inference, json_bytes=wanted.json_bytes)
            signal, words, form = await service.run(
                read_inference, body, in_background=json_bytes > LARGE_JSON_BYTES
            )
        else:
            large = json_bytes > LARGE_JSON_BYTES
            signal, said = await service.run(wire.read_from_json, body, in_background=large)
            words = _joined(words, said)
    except wire.WireError as error:
        raise as_problem(error) from error
    if wanted.body_type != wire.OCTET_STREAM and words.sample_rate is not None:
        model.check_sample_rate(words.sample_rate)
    return _read(name, words, signal, model), form


async def unpack(
    service: Service, wanted: Wanted, model: ServedModel, body: bytearray, name: str, grow: Grow
) -> Unpacked:
    """Return the reads of a body of many; what is lost of it without a name is called `name`. Raises Problem.

    At least one of them can be called.
    """
    try:
        wire.check_signature(wanted.body_type, body)
    except wire.WireError as error:
        raise as_problem(error) from error
    unpacked = await service.unpacker.unpack(body, name, grow)
    _refuse_strange_rates(unpacked, model)
    if not unpacked.reads:
        first = unpacked.refusals[0]
        raise ImpossibleRequestError(
            f"none of the {unpacked.count} reads can be called; of {first.name}: {first.detail}"
        )
    return unpacked


def _refuse_strange_rates(unpacked: Unpacked, model: ServedModel) -> None:
    """Refuse the reads whose sample rate the model does not take."""
    problems: dict[float, ImpossibleRequestError] = {}
    for rate in {read.sample_rate for read in unpacked.reads}:
        try:
            model.check_sample_rate(rate)
        except ImpossibleRequestError as problem:
            problems[rate] = problem
    if problems:
        reads, unpacked.reads = unpacked.reads, []
        for read in reads:
            if read.sample_rate in problems:
                unpacked.refusals.append(Refusal(read.read_id, problems[read.sample_rate]))
            else:
                unpacked.reads.append(read)


def _joined(words: wire.ReadWords, said: wire.ReadWords) -> wire.ReadWords:
    """Return what a query and a JSON body say of a read; MalformedRequestError where both say the same."""
    before = {word: value for word, value in asdict(words).items() if value is not None}
    in_body = {word: value for word, value in asdict(said).items() if value is not None}
    if twice := sorted(before.keys() & in_body.keys()):
        raise MalformedRequestError(f"given in the body and before it: {', '.join(twice)}; give it once")
    return wire.ReadWords(**before, **in_body)


def _read(name: str, words: wire.ReadWords, signal: Signal, model: ServedModel) -> Read:
    return Read(
        read_id=words.read_id or name,
        signal=signal,
        calibration=Calibration(offset=words.offset or 0.0, scale=words.scale or 1.0),
        sample_rate=words.sample_rate or model.sample_rate,
    )
