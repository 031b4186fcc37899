"""One module per cause; `finding` has what they share, and `registry` lists them.

The share below which no GPU wait is measured is the exporter's, which measures it.

Imports: `analysis.baseline`, `analysis.remediation`, `analysis.saturation`, `foreshock_exporter.gpu`, `model`, `stats`.
"""
