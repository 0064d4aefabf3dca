"""How long the garbage collector held this process: a pause in which no request is sent and no answer read.

Knows nothing of what the process does.
"""

import gc
import time


class Pauses:
    """A watch over the collections of this process, from `watch` on."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._began_s = 0.0

    def watch(self) -> None:
        """Begin to watch, if that was not done. What lives now is taken for lasting: no later collection
        looks at it again."""
        if self._on_collection not in gc.callbacks:
            gc.callbacks.append(self._on_collection)
        gc.collect()
        gc.freeze()

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began_s = time.perf_counter()
        else:
            self.total_s += time.perf_counter() - self._began_s
