"""Things that take long to make: each is made once however many ask for it, and the last ones are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Generic, TypeVar

from foreshock_dashboard.model.query import SourceError

T = TypeVar("T")


class BusyError(SourceError):
    """Others are waited for already; asking again in some seconds will do."""


class Kept(Generic[T]):
    """Things by what they were asked for with, the least lately asked for given up first. Safe to call from several
    threads.

    room: how large all of it may be together, as `size` counts; the newest stays in any case. queue: how many different
    things may be in the making, one after the other, for each takes a core; any number, side by side, unless given.
    """

    def __init__(self, room: float, size: Callable[[T], float] = lambda _: 1, queue: int | None = None) -> None:
        self._room, self._size, self._queue = room, size, queue
        self._lock = threading.Lock()
        self._turn = nullcontext() if queue is None else threading.Lock()
        self._of: object = None
        self._taken = 0.0
        self._made: OrderedDict[Hashable, tuple[T, float]] = OrderedDict()
        self._asked: dict[Hashable, Future[T]] = {}

    def __len__(self) -> int:
        """How many things are kept."""
        return len(self._made)

    def get(self, key: Hashable, make: Callable[[], T], of: object = None) -> T:
        """What `key` names; made by `make` unless it is there. Whoever asks while it is made waits for the same.

        of: what all is made of; when it is another one than before, nothing of before is kept.

        Raises:
            BusyError: too many other things are in the making.
            Exception: whatever `make` raises, for all that wait; nothing is kept of it.
        """
        return self.grown(key, lambda _: make(), lambda _: True, of)

    def grown(self, key: Hashable, grow: Callable[[T | None], T], enough: Callable[[T], bool], of: object = None) -> T:
        """The same of what is to be `enough`; else `grow` makes it of what is there, and it counts anew for the room.

        Raises:
            As `get`; what was there stays.
        """
        while True:
            with self._lock:
                if self._of is not of:
                    self._of, self._taken, self._made, self._asked = of, 0.0, OrderedDict(), {}
                if key in self._made and enough(self._made[key][0]):
                    self._made.move_to_end(key)
                    return self._made[key][0]
                waiting = self._asked.get(key)
                if waiting is None:
                    if self._queue is not None and len(self._asked) >= self._queue:
                        raise BusyError("others are having the past read already: try again in some seconds")
                    mine: Future[T] = Future()
                    self._asked[key] = mine
            # What was raised has this frame in its traceback: a name here for the future that holds it would keep all
            # that the frames below have until somebody looks for cycles.
            if waiting is None:
                try:
                    return self._make(key, mine, grow)
                finally:
                    del mine
            try:
                found = waiting.result()
            finally:
                del waiting
            if enough(found):
                return found

    def _make(self, key: Hashable, mine: Future[T], grow: Callable[[T | None], T]) -> T:
        try:
            with self._turn:
                there = self._made.get(key)
                made = grow(there[0] if there else None)
        except BaseException as error:
            self._done(key, mine)
            mine.set_exception(error)
            del mine
            raise
        self._done(key, mine, made)
        mine.set_result(made)
        return made

    def _done(self, key: Hashable, mine: Future[T], *made: T) -> None:
        """Nobody waits for it any more; what was made is kept unless all of it is of something else by now."""
        with self._lock:
            if self._asked.get(key) is not mine:
                return
            del self._asked[key]
            for one in made:
                self._taken -= self._made.pop(key, (one, 0.0))[1]
                self._made[key] = one, self._size(one)
                self._taken += self._made[key][1]
            while self._taken > self._room and len(self._made) > 1:
                self._taken -= self._made.popitem(last=False)[1][1]
