"""What the watch over the garbage collector promises: the time of its collections, and less of them to do."""

import gc

from loadgen.pauses import Pauses


def test_collections_are_timed_once_they_are_watched() -> None:
    pauses = Pauses()
    gc.collect()
    assert pauses.total_s == 0.0
    pauses.watch()
    try:
        before_s = pauses.total_s
        gc.collect()
        assert pauses.total_s > before_s
    finally:
        gc.callbacks.remove(pauses._on_collection)
        gc.unfreeze()


def test_what_lived_when_the_watch_began_is_not_looked_at_again() -> None:
    pauses = Pauses()
    kept = [[] for _ in range(1000)]
    pauses.watch()
    pauses.watch()
    try:
        assert gc.callbacks.count(pauses._on_collection) == 1
        assert not any(tracked is kept for tracked in gc.get_objects())
    finally:
        gc.callbacks.remove(pauses._on_collection)
        gc.unfreeze()
