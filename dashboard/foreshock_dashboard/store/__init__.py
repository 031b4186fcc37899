"""The embedded store: SQLite inbox, DuckDB in memory, Parquet segments."""
