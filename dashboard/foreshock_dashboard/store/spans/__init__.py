"""Spans in the store: codec, symbols, search, and heat map.

Imports: `ingest`, `model`, `store`.
"""
