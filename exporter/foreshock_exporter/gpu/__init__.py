"""Per-GPU collection: driver samples to busy, contended, and stalled time; imports `attribution` and `model`."""
