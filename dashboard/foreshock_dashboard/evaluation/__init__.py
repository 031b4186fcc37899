"""Evaluation of the analysis on recordings with known ground truth, in comparison with baseline detectors.

Imports: `model`, `recording`, `stats`.
"""
