"""Faults and look-alikes: what is done to a running system, how strongly, and where.

Imports: `topology`.
"""
