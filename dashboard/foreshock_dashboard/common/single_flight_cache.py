"""Coalescing of concurrent requests for one value: an LRU cache for threads, and reads of coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from foreshock_dashboard.model.query import SourceError

T = TypeVar("T")


class BusyError(SourceError):
    """Too many computations are pending; a retry in some seconds succeeds."""


class SingleFlightCache(Generic[T]):
    """Thread-safe LRU cache with a size budget; concurrent requests for one key compute its value once.

    Args:
        max_size: total size of the values, as `size_of` counts it. The newest value is kept however large it is.
        size_of: size of a value; 1 by default.
        max_pending: keys that may be computed or wait for it at once, one after another. Without it, any number of
            keys are computed in parallel.
    """

    def __init__(
        self, max_size: float, size_of: Callable[[T], float] = lambda _: 1, max_pending: int | None = None
    ) -> None:
        self._max_pending = max_pending
        self._lock = threading.Lock()
        self._computing = nullcontext() if max_pending is None else threading.Lock()
        self._generation: object = None
        self._values: LRUCache[Hashable, T] = LRUCache(max_size, lambda value: min(size_of(value), max_size))
        self._pending: dict[Hashable, Future[T]] = {}

    def __len__(self) -> int:
        """Number of cached values."""
        return len(self._values)

    def clear(self) -> None:
        """Drop the cached values; those being computed are cached as before."""
        with self._lock:
            self._values.clear()

    def get(self, key: Hashable, compute: Callable[[], T], generation: object = None) -> T:
        """The value of `key`; `compute` makes it if it is missing, once for all threads that ask for it meanwhile.

        Another `generation`, the object that all values derive from, empties the cache. Raises BusyError if
        `max_pending` other keys are pending, and whatever `compute` raises, for every waiting thread; failures are not
        cached.
        """
        return self.extend(key, lambda _: compute(), lambda _: True, generation)

    def extend(
        self,
        key: Hashable,
        extend: Callable[[T | None], T],
        is_enough: Callable[[T], bool],
        generation: object = None,
    ) -> T:
        """Like `get`, but a cached value that `is_enough` rejects is passed to `extend` and measured again.

        Raises BusyError as `get` does, and whatever `extend` raises; the cached value stays.
        """
        while True:
            with self._lock:
                if self._generation is not generation:
                    self._generation, self._pending = generation, {}
                    self._values.clear()
                if key in self._values and is_enough(value := self._values[key]):
                    return value
                pending = self._pending.get(key)
                if pending is None:
                    if self._max_pending is not None and len(self._pending) >= self._max_pending:
                        raise BusyError("too many requests for past data are in progress; try again in a few seconds")
                    own: Future[T] = Future()
                    self._pending[key] = own
            # A raised exception holds this frame in its traceback. Without `del`, the frame would hold the future and
            # the future the exception: a cycle that keeps everything below alive until the next garbage collection.
            if pending is None:
                try:
                    return self._compute(key, own, extend)
                finally:
                    del own
            try:
                value = pending.result()
            finally:
                del pending
            if is_enough(value):
                return value

    def _compute(self, key: Hashable, own: Future[T], extend: Callable[[T | None], T]) -> T:
        try:
            with self._computing:
                with self._lock:
                    cached = self._values.get(key)
                value = extend(cached)
        except BaseException as error:
            self._finish(key, own)
            own.set_exception(error)
            del own
            raise
        self._finish(key, own, value)
        own.set_result(value)
        return value

    def _finish(self, key: Hashable, own: Future[T], *values: T) -> None:
        """Remove a pending key and cache its value, unless the generation has changed since it began."""
        with self._lock:
            if self._pending.get(key) is own:
                del self._pending[key]
                for value in values:
                    self._values[key] = value


class SingleFlight(Generic[T]):
    """Pending reads of coroutines by key. Results are not cached: the next call after a read starts another one."""

    def __init__(self) -> None:
        self._pending: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the pending read of `key`, else of `read`; also an exception, for every caller that waits.

        The read continues if this caller is cancelled.
        """
        task = self._pending.get(key)
        if task is None:
            task = self._pending[key] = asyncio.create_task(read())
            task.add_done_callback(lambda done: self._finish(key, done))
        return await asyncio.shield(task)

    def _finish(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._pending[key]
        if not task.cancelled():
            task.exception()  # marks it as retrieved, or asyncio logs it when every caller was cancelled
