"""Spans in the store: codec, symbols, search, and heat map."""
