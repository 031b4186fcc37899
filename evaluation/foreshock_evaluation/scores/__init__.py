"""Scores of one run against its ground truth, and their confidence intervals.

Imports: `foreshock_dashboard.model`, `foreshock_dashboard.recording`, `foreshock_simulator.scenarios`,
`foreshock_simulator.spec`.
"""
