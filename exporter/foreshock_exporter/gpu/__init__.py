"""Per-GPU collection: driver samples to busy, contended, and GPU wait seconds by service.

Imports: `common`, `model`.
"""
