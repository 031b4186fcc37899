"""Which action would help, and by how much.

Imports: `analysis.baseline`, `analysis.saturation`, `model`, `stats`.
"""
