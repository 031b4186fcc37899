"""Request coalescing for coroutines: concurrent reads of one key share one task and no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Pending reads by key. Results are not cached: the next call after a read has ended starts another one."""

    def __init__(self) -> None:
        self._pending: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the pending read of `key`, else of `read`. The read continues if this caller is cancelled.

        Raises whatever `read` raises, for every caller that waits.
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
