"""Prometheus text format and OpenMetrics: a snapshot as metric families, families as text.

Imports: `gpu`, `model`.
"""
