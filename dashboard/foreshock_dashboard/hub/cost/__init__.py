"""The hub's ledger of GPU time: its thread, and its metrics.

Imports: `common`, `ingest`, `model`, `replay`.
"""
