"""Ranking of suspected causes.

Imports: `analysis.baseline`, `analysis.detectors`, `model`, `stats`.
"""
