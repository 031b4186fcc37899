"""The embedded store: SQLite inbox, DuckDB in memory, Parquet segments.

Imports: `common`, `model`, `store.blocks`, `store.samples`, `store.spans`.
"""

from foreshock_dashboard.store.errors import StoreError, StoreLocked
from foreshock_dashboard.store.limits import Retention, Sealing, StoreStats
from foreshock_dashboard.store.malloc_tuning import keep_little
from foreshock_dashboard.store.store import Store

__all__ = ["Retention", "Sealing", "Store", "StoreError", "StoreLocked", "StoreStats", "keep_little"]
