"""Forecast of SLO breaches: of each service by itself, and propagated over the call graph.

Imports: `analysis.baseline`, `analysis.saturation`, `common`, `model`, `stats`.
"""
