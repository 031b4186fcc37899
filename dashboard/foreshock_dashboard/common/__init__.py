"""Helpers without a domain: clock, caches, locks, progress, package data.

Imports: `model`.
"""
