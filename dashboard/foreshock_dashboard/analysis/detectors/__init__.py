"""One file per cause; each returns findings with evidence and confidence.

Imports: `analysis.baseline`, `analysis.remediation`, `analysis.saturation`, `model`, `stats`.
"""
