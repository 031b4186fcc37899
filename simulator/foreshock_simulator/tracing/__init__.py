"""Spans as instrumented services emit them, and the counts that a Collector derives before sampling.

Imports: `core`.
"""
