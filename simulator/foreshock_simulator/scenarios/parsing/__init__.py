"""YAML to values of `spec`, with the line and the remedy in every error.

Imports: `core`, `spec`.
"""
