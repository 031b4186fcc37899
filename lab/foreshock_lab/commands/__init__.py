"""Commands of `python -m foreshock_lab`, one module each.

Imports: `campaign`, `faults`, `foreshock_dashboard.recording`, `system`, `topology`.
"""
