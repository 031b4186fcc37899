"""Group commit: appends that wait at the same moment share one WAL transaction, then go to the head."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.blocks.disk import StoreError
from foreshock_dashboard.store.blocks.format import RowBatch
from foreshock_dashboard.store.health import Health, error_text
from foreshock_dashboard.store.wal import Wal

log = logging.getLogger(__name__)

PROBE_KIND = "probe"
"""Kind of a temporary record that tests whether the disk accepts data."""
_PROBE_BYTES = 65_536


@dataclass(eq=False, slots=True)
class _Append:
    """One waiting append: the batches of a kind and their WAL payloads."""

    kind: str
    batches: Sequence[RowBatch]
    payloads: Sequence[bytes]
    done: bool = False
    error: StoreError | None = None


class GroupCommit:
    """Writes appends to the WAL and the head. Thread-safe; other users of the WAL hold `lock`.

    Appends are refused while all heads together have more than `max_head_bytes`.
    """

    def __init__(
        self, path: Path, wal: Wal, stores: Mapping[str, BlockStore[Any]], health: Health, max_head_bytes: int
    ) -> None:
        self.lock = threading.Lock()
        self.queue: list[_Append] = []
        self.dropped: Counter[str] = Counter()
        """Refused rows by kind."""
        self.closed = False
        self._path, self._wal, self._stores, self._health = path, wal, stores, health
        self._max_head_bytes = max_head_bytes
        self._queue_lock = threading.Lock()

    def append(self, kind: str, batches: Sequence[RowBatch], payloads: Sequence[bytes]) -> None:
        """Write batches durably, each as one WAL record with its payload. Raises StoreError if no batch was kept."""
        if not payloads:
            return
        append = _Append(kind, batches, payloads)
        with self._queue_lock:
            self.queue.append(append)
        with self.lock:  # the first thread to get here commits for all waiting ones
            if not append.done:
                with self._queue_lock:
                    appends, self.queue = self.queue, []
                self._commit(appends)
        if append.error is not None:
            raise append.error
        self.flush(kind)

    def flush(self, kind: str) -> None:
        """Flush the head if due. A failure is recorded, not raised: the data is already durable."""
        try:
            self._stores[kind].head.flush_if_due()
        except Exception as error:  # noqa: BLE001 - the append has succeeded
            self._health.failed(error)

    def _commit(self, appends: list[_Append]) -> None:
        """Write all appends or none. Afterwards each one is done, with an error if it was not kept."""
        error: StoreError | None = StoreError(f"store {self._path}: interrupted; send it again")
        try:
            self._write(appends)
            error = None
        except StoreError as refusal:
            error = refusal
        except Exception as unexpected:
            log.exception("store %s: an append failed", self._path)
            error = StoreError(f"store {self._path}: cannot keep data: {error_text(unexpected)}")
        finally:
            self._health.append_error = str(error or "")
            for append in appends:
                append.done, append.error = True, error

    def _write(self, appends: list[_Append]) -> None:
        self._check_capacity()
        records = [(append.kind, payload) for append in appends for payload in append.payloads]
        targets = [(append.kind, batch) for append in appends for batch in append.batches]
        record_ids = self._wal.append(records)
        for record_id, (kind, batch) in zip(record_ids, targets, strict=True):  # nothing may fail from here on
            self._stores[kind].head.append(record_id, batch)
            self.dropped[kind] += batch.refused

    def check_place(self) -> bool:
        """Whether the store's folder is still there. If not, appends are refused and the store is not ready."""
        if self._wal.in_place():
            return True
        self._health.append_error = (
            f"store {self._path}: the folder was removed or replaced; "
            "put it back, or restart to continue with the current contents"
        )
        return False

    def _check_capacity(self) -> None:
        if self.closed:
            raise StoreError(f"store {self._path}: it is closed")
        if not self.check_place():
            raise StoreError(self._health.append_error)
        head_bytes = sum(store.head.usage().bytes for store in self._stores.values())
        if head_bytes > self._max_head_bytes:
            reason = self._health.maintenance_error or "blocks are written too slowly"
            raise StoreError(f"store {self._path}: {head_bytes >> 20} MiB wait to be written to blocks: {reason}")

    def probe(self) -> None:
        """After a failed append, test whether the disk accepts data again, and reset readiness if so."""
        if self._health.append_error:
            with self.lock:
                try:
                    self._check_capacity()
                    (record_id,) = self._wal.append([(PROBE_KIND, bytes(_PROBE_BYTES))])
                    self._wal.truncate(PROBE_KIND, record_id, record_id)
                    self._health.append_error = ""
                except StoreError as error:
                    self._health.append_error = str(error)
