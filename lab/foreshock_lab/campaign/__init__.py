"""Campaigns: faults in a running system, one after another, each in a recording with its truth.

Imports: `faults`, `foreshock_dashboard.model`, `record`, `topology`.
"""
