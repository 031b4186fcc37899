"""Runs of a suite, with the right answers: simulated platforms, and recordings of the laboratory.

Imports: `foreshock_dashboard.model`, `foreshock_dashboard.recording`, `foreshock_dashboard.store`,
`foreshock_simulator.scenarios`, `foreshock_simulator.scenarios.platforms`, `scores`, `streams`.
"""
