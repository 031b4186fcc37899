"""Things that take long to make: each is made once however many ask for it, and the last ones are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from foreshock_dashboard.model.query import SourceError

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class BusyError(SourceError):
    """Others are waited for already; asking again in some seconds will do."""


class Shelf(Generic[Key, Made]):
    """What was made, the least lately asked for given up first. Safe to call from several threads.

    room: how large all of it may be together, as `size` counts; the newest stays in any case. queue: how many different
    things may be in the making at once; they are made one after the other, for each takes a core.
    """

    def __init__(self, size: Callable[[Made], float], room: float, queue: int) -> None:
        self._size = size
        self._room = room
        self._queue = queue
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._kept: OrderedDict[Key, Made] = OrderedDict()
        self._asked: dict[Key, Future[Made]] = {}

    def __len__(self) -> int:
        """How many things are kept."""
        return len(self._kept)

    def get(self, key: Key, make: Callable[[], Made]) -> Made:
        """What `key` names; made by `make` unless it is there. Whoever asks while it is made waits for the same.

        Raises:
            BusyError: too many other things are in the making.
            Exception: whatever `make` raises, for all that wait.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            waiting = self._asked.get(key)
            if waiting is None:
                if len(self._asked) >= self._queue:
                    raise BusyError("others are having the past read already: try again in some seconds")
                mine: Future[Made] = Future()
                self._asked[key] = mine
        if waiting is not None:
            return waiting.result()
        try:
            with self._making:
                made = make()
        except BaseException as error:
            mine.set_exception(error)
            with self._lock:
                del self._asked[key]
            raise
        with self._lock:
            self._kept[key] = made
            del self._asked[key]
            sizes = {kept: self._size(value) for kept, value in self._kept.items()}
            for oldest in [*self._kept][:-1]:
                if sum(sizes.values()) <= self._room:
                    break
                del self._kept[oldest], sizes[oldest]
        mine.set_result(made)
        return made
