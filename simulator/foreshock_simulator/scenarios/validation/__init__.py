"""Checks that a platform and its faults are consistent and fit the GPUs they ask for.

Imports: `control`, `core`, `hardware`, `scenarios.parsing`, `spec`, `traffic`.
"""
