"""Scores of `explain` on labeled recordings of single faults, beside baseline rankings of any metrics.

Imports: `foreshock_dashboard.analysis`, `foreshock_dashboard.ingest`, `foreshock_dashboard.model`,
`foreshock_dashboard.recording`, `foreshock_dashboard.replay`, `foreshock_dashboard.world`,
`foreshock_simulator.scenarios`, `scores`, `suites`.
"""
