"""Frozen values shared by all folders.

Imports: nothing.
"""
