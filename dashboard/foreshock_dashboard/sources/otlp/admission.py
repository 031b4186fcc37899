"""Admission of requests by bytes, so that senders cannot make the process grow.

A request's bytes are pending from their arrival until its response. Beyond the limit, and where the process has no room
for more than `GUARANTEED_BYTES`, requests are refused before they are read. Those that were admitted are decoded and
stored in slices, of which few are in memory at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from foreshock_dashboard.ingest.otlp.split import MAX_SLICE_BYTES

MAX_REQUEST_BYTES = 64 << 20
"""Largest request, before and after decompression (recommended by the OTLP specification 1.11)."""
MAX_PENDING_BYTES = 4 * MAX_REQUEST_BYTES
"""Bytes of all requests that are received, decoded or stored at the same time."""
SMALL_REQUEST_BYTES = 1 << 20
"""Largest request that may use the last quarter of the pending bytes. So large requests that arrive slowly, or wait for
the disk, do not block all other senders."""
GUARANTEED_BYTES = 512 << 10
"""Pending bytes of all requests together that need no room, so that memory which stays in use cannot lock senders out.
It is a batch of an SDK, 512 spans by default (OTEL_BSP_MAX_EXPORT_BATCH_SIZE), of 1 KiB each."""
PENDING_PER_WORKING_BYTE = 32
"""Ratio of the limits of pending bytes and of those that are decoded: decoded spans take several times their bytes."""


class Admission:
    """The bytes of all requests at the same time. Thread-safe.

    Args:
        max_pending_bytes: their limit; of requests larger than `SMALL_REQUEST_BYTES`, `max_large_bytes`.
        has_room: whether the process may take so many more bytes. Without room, `GUARANTEED_BYTES` are admitted.
    """

    def __init__(
        self, max_pending_bytes: int = MAX_PENDING_BYTES, has_room: Callable[[int], bool] = lambda _: True
    ) -> None:
        self.max_pending_bytes, self.has_room = max_pending_bytes, has_room
        self.max_large_bytes = max_pending_bytes * 3 // 4
        self._max_working_bytes = max(MAX_SLICE_BYTES, max_pending_bytes // PENDING_PER_WORKING_BYTE)
        self._lock = threading.Lock()
        self._worked = threading.Condition(self._lock)
        self._pending_bytes = self._working_bytes = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of the requests without a response."""
        return self._pending_bytes

    def admits(self, size: int, held: int = 0) -> bool:
        """Whether `size` more bytes of a request fit that has `held` of them already. Nothing is reserved."""
        is_small = held + size <= SMALL_REQUEST_BYTES
        limit = self.max_pending_bytes if is_small else self.max_large_bytes
        pending = self._pending_bytes + size
        has_room = self.has_room(pending)  # spans in the head take about as much as their requests
        return pending <= limit and (has_room or pending <= GUARANTEED_BYTES)

    def reserve(self, size: int, held: int) -> bool:
        """Make `size` more bytes of a request pending if they fit, and return whether they do."""
        with self._lock:
            admitted = self.admits(size, held)
            self._pending_bytes += size if admitted else 0
        return admitted

    def release(self, size: int) -> None:
        """End the bytes of a request."""
        with self._lock:
            self._pending_bytes -= size

    @contextmanager
    def working(self, size: int) -> Iterator[None]:
        """Wait until a slice of `size` bytes may be decoded and stored, which lasts until the end of the block."""
        size = min(size, self._max_working_bytes)
        with self._worked:
            self._worked.wait_for(lambda: self._working_bytes + size <= self._max_working_bytes)
            self._working_bytes += size
        try:
            yield
        finally:
            with self._worked:
                self._working_bytes -= size
                self._worked.notify_all()
