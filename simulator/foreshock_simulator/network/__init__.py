"""The network between hosts: interfaces that messages and flows share, lossy paths, and counters.

Imports: `core`.
"""
