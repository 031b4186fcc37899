"""Frozen values and the driver protocol shared by all collectors.

Imports: `exposition`, `gpu`.
"""
