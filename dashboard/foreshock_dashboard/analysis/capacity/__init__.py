"""Load in hours and days against safe limits.

Imports: `model`.
"""
