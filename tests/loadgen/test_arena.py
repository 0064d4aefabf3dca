"""What an arena promises: bodies are prepared once for all forked processes, and are the same in each."""

import os
from collections.abc import Callable, Iterator

import pytest

from loadgen.arena import Arena
from loadgen.bodies import Body, ReadSource, prepare_bodies

SOURCE = ReadSource(simulated=5, mean_bases=100)


def no_rest(_: float) -> None:
    """Nobody else is to run."""


def never(_: ReadSource) -> Iterator[Body]:
    raise AssertionError("they are there already")
    yield


def in_a_child(do: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            do()
        except BaseException:  # noqa: BLE001  # a child that goes on would run the other tests
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_bodies_are_those_that_were_prepared() -> None:
    bodies = Arena().bodies(SOURCE, prepare_bodies, no_rest)
    assert bodies == list(prepare_bodies(SOURCE))
    assert all(isinstance(body.content, memoryview) and body.content.readonly for body in bodies)


def test_what_one_process_prepared_another_maps() -> None:
    arena = Arena()
    assert in_a_child(lambda: arena.bodies(SOURCE, prepare_bodies, no_rest)) == 0
    assert arena.bodies(SOURCE, never, no_rest) == list(prepare_bodies(SOURCE))


def test_who_comes_while_they_are_prepared_waits() -> None:
    arena = Arena()
    read, written = os.pipe()
    waited: list[float] = []

    def slowly(source: ReadSource) -> Iterator[Body]:
        os.write(written, b"!")
        while os.read(read_go, 1) != b"!":
            pass
        yield from prepare_bodies(source)

    def rest(seconds: float) -> None:
        waited.append(seconds)
        os.write(go, b"!")

    read_go, go = os.pipe()
    child = os.fork()
    if child == 0:
        arena.bodies(SOURCE, slowly, no_rest)
        os._exit(0)
    os.read(read, 1)
    assert arena.bodies(SOURCE, never, rest) == list(prepare_bodies(SOURCE))
    assert waited
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_that_dies_while_it_prepares_leaves_it_to_the_next() -> None:
    arena = Arena()

    def dying(source: ReadSource) -> Iterator[Body]:
        yield next(prepare_bodies(source))
        os._exit(7)

    assert in_a_child(lambda: arena.bodies(SOURCE, dying, no_rest)) == 7
    assert arena.bodies(SOURCE, prepare_bodies, no_rest) == list(prepare_bodies(SOURCE))


def test_another_source_is_prepared_for_oneself_and_leaves_the_first_as_it_is() -> None:
    arena = Arena()
    first = arena.bodies(SOURCE, prepare_bodies, no_rest)
    other = ReadSource(simulated=2, mean_bases=100, seed=9)
    assert arena.bodies(other, prepare_bodies, no_rest) == list(prepare_bodies(other))
    assert arena.bodies(SOURCE, never, no_rest) == first


def test_reads_that_cannot_be_prepared_are_an_error_and_nothing_is_kept() -> None:
    arena = Arena()
    with pytest.raises(ValueError, match="no reads"):
        arena.bodies(ReadSource(simulated=0), prepare_bodies, no_rest)
    assert arena.bodies(SOURCE, prepare_bodies, no_rest) == list(prepare_bodies(SOURCE))
