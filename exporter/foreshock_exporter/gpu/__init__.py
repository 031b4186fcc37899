"""Per-GPU collection: driver samples to busy, contended, and stalled seconds by service.

Imports: `common`, `model`.
"""
