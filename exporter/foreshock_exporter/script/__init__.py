"""Device scripts: simulated GPUs that replay a JSON Lines file.

Imports: `common`, `host`, `model`.
"""
