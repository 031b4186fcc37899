"""GPU use of one trace: occupancy intervals, their join with spans, GPU lanes, critical path, and clock skew.

The names of occupancy spans and their attributes are the exporter's, which writes them.

Imports: `foreshock_exporter.gpu`, `model`.
"""
