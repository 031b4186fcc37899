"""Per-GPU collection: driver samples to busy, contended, and stalled time.

Imports: `attribution`, `exposition`, `model`.
"""
