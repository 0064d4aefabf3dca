"""A place for one thing between two threads: the giver waits for the place before it makes the thing."""

import threading
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Handover(Generic[Thing]):
    """Holds at most one thing. Closed by either side, what it holds can still be taken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._things: list[Thing] = []
        self._closed = False

    def wait_free(self) -> bool:
        """Wait until nothing is held; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._things)
            return not self._closed

    def put(self, thing: Thing) -> None:
        """Hold a thing, after `wait_free`."""
        with self._changed:
            self._things.append(thing)
            self._changed.notify_all()

    def take(self) -> Thing | None:
        """Wait for a thing; None once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._things)
            self._changed.notify_all()
            return self._things.pop() if self._things else None

    def close(self) -> None:
        """Say that nothing more will come, or be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
