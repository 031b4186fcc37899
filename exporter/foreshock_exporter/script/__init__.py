"""Device scripts: what pretends to be GPUs, over time.

Imports: `exposition`, `host`, `model`.
"""
