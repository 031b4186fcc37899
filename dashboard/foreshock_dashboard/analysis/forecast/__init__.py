"""Which service is at risk next, and when.

Imports: `analysis.baseline`, `analysis.saturation`, `common`, `model`, `stats`.
"""
