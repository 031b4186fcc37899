"""Samples in the store: series index, codec, and PromQL functions on a grid.

Imports: `model`, `store`.
"""
