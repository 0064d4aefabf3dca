"""What people choose becomes a setup, or a complaint about what they chose."""

from dataclasses import replace
from pathlib import Path as File

import pytest
from measured import HOST, a_path

from loadgen.errors import PlanError
from loadgen.method import Method, with_control
from reads.errors import ReadsError

METHOD = Method(
    reads=None,
    budget_s=240.0,
    block_s=2.0,
    settle_s=0.5,
    users=4,
    chunk_samples=4000,
    delta=0.02,
    seed=7,
    model="tiny",
    arms=("model", "null"),
    connection="keep-alive",
)


def test_the_baseline_comes_first_and_once_more_as_the_control() -> None:
    setup = METHOD.setup("urls", (a_path("svc"), HOST), "host", {})
    assert [path.name for path in setup.plan.paths] == ["host", "host-again", "svc"]
    assert setup.plan.paths[0].url == setup.plan.paths[1].url
    assert (setup.baseline, setup.control, setup.compared) == ("host", "host-again", ("svc",))


def test_what_was_chosen_is_in_the_setup() -> None:
    setup = METHOD.setup("lab", (HOST, a_path("svc")), "host", {"mtu": 1500})
    assert (setup.delta, setup.budget_s, setup.options) == (0.02, 240.0, {"mtu": 1500})
    assert (setup.plan.seed, setup.plan.model, setup.plan.users) == (7, "tiny", {"model": 4, "null": 4})
    assert (setup.plan.reads.chunk_samples, setup.plan.reads.seed) == (4000, 7)


def test_rounds_are_at_most_what_fits_the_budget_if_blocks_take_no_longer_than_they_must() -> None:
    assert METHOD.setup("urls", (HOST, a_path("svc")), "host", {}).plan.rounds == 20
    brief = replace(METHOD, budget_s=1.0)
    assert brief.setup("urls", (HOST, a_path("svc")), "host", {}).plan.rounds == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"arms": ("gpu",)}, "arms are one or both of model, null"),
        ({"arms": ()}, "arms are one or both of model, null"),
        ({"connection": "http3"}, "connection is keep-alive or new"),
        ({"block_s": 0.0}, "must be less than block_s"),
        ({"settle_s": 3.0}, "must be less than block_s"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(PlanError, match=complaint):
        replace(METHOD, **change).setup("urls", (HOST, a_path("svc")), "host", {})  # type: ignore[arg-type]


def test_a_baseline_that_is_no_path_is_refused() -> None:
    with pytest.raises(PlanError, match="no path is called host; there are svc"):
        with_control((a_path("svc"),), "host")


def test_host_networking_alone_is_nothing_to_compare() -> None:
    with pytest.raises(PlanError, match="name a path to hold against host"):
        METHOD.setup("urls", (HOST,), "host", {})


def test_reads_that_are_not_there_are_missed_before_anything_is_sent(tmp_path: File) -> None:
    with pytest.raises(ReadsError, match="there is no such file"):
        replace(METHOD, reads=tmp_path / "none.fast5").setup("urls", (HOST, a_path("svc")), "host", {})


def test_a_folder_without_reads_is_nothing_to_send(tmp_path: File) -> None:
    with pytest.raises(PlanError, match="no reads to send"):
        replace(METHOD, reads=tmp_path).setup("urls", (HOST, a_path("svc")), "host", {})
