"""Commands of `python -m foreshock_lab`, one module each.

Imports: `campaign`, `faults`, `foreshock_dashboard.recording`, `foreshock_evaluation.streams`, `system`, `topology`.
"""
