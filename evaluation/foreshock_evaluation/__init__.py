"""Evaluation of the analysis on recordings with known ground truth, in comparison with baseline detectors.

Imports: `capacity`, `explanations`, `foreshock_dashboard.cli`, `foreshock_dashboard.common`,
`foreshock_dashboard.model`, `foreshock_dashboard.recording`, `foreshock_dashboard.replay`,
`foreshock_dashboard.settings`, `foreshock_dashboard.stats`, `foreshock_simulator`, `scores`, `streams`, `suites`.
"""
