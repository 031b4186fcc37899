"""Spans in: decoded, paired into a service graph, and counted as metrics."""
