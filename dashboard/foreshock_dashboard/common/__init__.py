"""Helpers without a domain: clock, caches, locks, progress, package data; imports nothing else of the hub."""
