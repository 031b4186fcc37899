"""Load in hours and days against safe limits.

Imports: `analysis.baseline`, `analysis.saturation`, `model`, `stats`.
"""
