"""Accounts of allocated, busy, waiting, and idle GPU time, what it costs, and what could be saved.

Imports: `model`.
"""
