"""Logging, the package version, and label text.

Imports: nothing.
"""
