"""What takes long to make, kept for others who ask for the same, in bounded room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Things by what they were asked for with; where all of them are larger than `most`, those go that nobody asked
    for longest. Each is made once, also for those who ask meanwhile. Safe to call from several threads.

    size: of a thing, in the unit of `most`; 1 unless told otherwise. What is larger than all the room is not kept.
    """

    def __init__(self, most: int, size: Callable[[T], int] = lambda _: 1) -> None:
        self._most, self._size_of = most, size
        self._lock = threading.Lock()
        self._of: object = None
        self._size = 0
        self._made: OrderedDict[Hashable, T] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], T], of: object = None) -> T:
        """What was made for this key, or what `make` gives now; what it raises is raised, and nothing is kept of it.

        of: what all is made of; when it is another one than before, nothing of before is kept.
        """
        with self._lock:
            if self._of is not of:
                self._of, self._size, self._made, self._making = of, 0, OrderedDict(), {}
            if key in self._made:
                return self._found(key)
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if self._of is of and key in self._made:
                    return self._found(key)
            try:
                made = make()
                self._keep(key, made, of)
                return made
            finally:
                with self._lock:
                    if self._making.get(key) is making:
                        del self._making[key]

    def _found(self, key: Hashable) -> T:
        self._made.move_to_end(key)
        return self._made[key]

    def _keep(self, key: Hashable, made: T, of: object) -> None:
        with self._lock:
            if self._of is not of:
                return
            self._made[key] = made
            self._size += self._size_of(made)
            while self._size > self._most:
                _, gone = self._made.popitem(last=False)
                self._size -= self._size_of(gone)
