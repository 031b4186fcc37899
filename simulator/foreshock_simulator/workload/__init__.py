"""GPU jobs of tenants: batch work and training. No request waits for them.

Imports: `core`, `hardware`, `spec`.
"""
