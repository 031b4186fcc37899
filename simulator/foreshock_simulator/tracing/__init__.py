"""Spans as instrumented services emit them, and the span counts a Collector derives before sampling.

Imports: nothing.
"""
