"""Commands of `python -m foreshock_lab`, one module each.

Imports: `system`, `topology`.
"""
