"""Incidents as a pure fold over the evaluation grid: open, update, resolve.

Imports: `analysis.baseline`, `analysis.detectors`, `analysis.forecast`, `analysis.remediation`,
`analysis.root_cause`, `analysis.saturation`, `common`, `model`, `stats`.
"""
