"""Frozen values shared by all rooms.

Imports: nothing.
"""
