"""Samples in the store: series index, codec, blocks, and PromQL functions.

Imports: `model`, `store.blocks`.
"""
