"""A place for one thing: who waits for whom."""

import threading

from live_service import WAIT_S

from service.handover import Handover


def test_the_giver_waits_until_the_thing_before_is_taken() -> None:
    place: Handover[int] = Handover()
    taken: list[int | None] = []

    def give() -> None:
        for thing in range(100):
            assert place.wait_free()
            place.put(thing)
        assert place.wait_free()
        place.close()

    giver = threading.Thread(target=give)
    giver.start()
    while (thing := place.take()) is not None:
        taken.append(thing)
    giver.join(WAIT_S)
    assert taken == list(range(100))


def test_what_is_held_when_it_is_closed_can_be_taken() -> None:
    place: Handover[str] = Handover()
    place.put("last")
    place.close()
    assert (place.wait_free(), place.take(), place.take()) == (False, "last", None)


def test_closing_wakes_who_waits() -> None:
    place: Handover[str] = Handover()
    taken: list[str | None] = []
    taker = threading.Thread(target=lambda: taken.append(place.take()))
    taker.start()
    place.close()
    taker.join(WAIT_S)
    assert taken == [None]
