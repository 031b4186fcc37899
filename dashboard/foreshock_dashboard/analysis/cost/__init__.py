"""Accounts of allocated, busy, waiting, and idle GPU time, what it costs, and which holdings are idle.

Imports: `model`.
"""
