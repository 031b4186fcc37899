"""Metric names, families, and the text formats of Prometheus and OpenMetrics.

Imports: `gpu`, `host`, `model`.
"""
