"""One module per cause; `finding` has what they share, and `registry` lists them.

Imports: `analysis.baseline`, `analysis.remediation`, `analysis.saturation`, `model`, `stats`.
"""
