"""How full model servers and GPU pools are.

Imports: `analysis.baseline`, `model`, `stats`.
"""
