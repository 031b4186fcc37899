"""Commands of `python -m foreshock_lab`, one module each.

Imports: `campaign`, `faults`, `system`, `topology`, `foreshock_dashboard.recording`.
"""
