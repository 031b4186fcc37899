"""Ranking of suspected causes. `rank` is the entry point; the other modules are its parts.

Imports: `analysis.baseline`, `analysis.detectors`, `model`, `stats`.
"""
