"""Cost, memory, and latency of the hub: ingest, store, evaluation, pages."""
