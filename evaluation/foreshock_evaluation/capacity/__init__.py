"""Scores of the capacity forecast on real weeks, beside seasonal naive forecasts.

Imports: `foreshock_dashboard.analysis`, `foreshock_dashboard.model`.
"""
