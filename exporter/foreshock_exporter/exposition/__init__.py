"""Metric names, families, and the text formats of Prometheus and OpenMetrics; imports `model` only."""
