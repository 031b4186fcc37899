"""Device scripts: what pretends to be GPUs, over time."""
