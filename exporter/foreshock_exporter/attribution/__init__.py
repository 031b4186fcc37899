"""Whose a process is.

Imports: `host`, `model`.
"""
