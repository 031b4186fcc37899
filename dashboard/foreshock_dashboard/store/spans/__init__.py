"""Spans in the store: codec, chunks, search, and heat map.

Imports: `ingest.otlp`, `model`, `store.blocks`.
"""
