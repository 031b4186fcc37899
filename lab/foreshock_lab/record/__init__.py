"""Recordings cut out of a running system.

Imports: `foreshock_dashboard.model`, `foreshock_dashboard.recording`, `foreshock_dashboard.sources`.
"""
