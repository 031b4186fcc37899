"""Tenants that nobody waits for: batch work and training. What they have to do with others is given to them.

Imports: `core`, `hardware`, `spec`.
"""
