"""Checks that a platform and its faults are consistent and fit on the GPUs.

Imports: `control`, `core`, `hardware`, `scenarios.parsing`, `spec`, `traffic`.
"""
