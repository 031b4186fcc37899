"""What ran on the GPUs of one trace: occupancy, the join with spans, critical path.

Imports: `foreshock_exporter.gpu`, `model`.
"""
