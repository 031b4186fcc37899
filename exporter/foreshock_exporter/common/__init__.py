"""Logging, options, and the package version.

Imports: nothing.
"""
