"""Spans in the store: codec, chunks, search, and heat map.

Imports: `ingest`, `model`, `store.blocks`.
"""
