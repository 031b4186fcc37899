"""GPUs and hosts: the cost of GPU work, and the slowdown of processes that share a GPU.

Imports: `core`, `spec`.
"""
