"""The embedded store: SQLite as write-ahead log, a head in memory, Parquet files as blocks.

The head holds samples in DuckDB tables and spans in NumPy columns.

Imports: `common`, `model`, `store.blocks`, `store.samples`, `store.spans`.
"""

from foreshock_dashboard.store.blocks.disk import StoreError, StoreLocked
from foreshock_dashboard.store.blocks.limits import StoreLimits
from foreshock_dashboard.store.health import StoreStats
from foreshock_dashboard.store.journal import Journal, JournalStats
from foreshock_dashboard.store.retention import Retention
from foreshock_dashboard.store.store import Store

__all__ = ["Journal", "JournalStats", "Retention", "Store", "StoreError", "StoreLimits", "StoreLocked", "StoreStats"]
