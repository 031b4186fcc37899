"""Panels of several pages: timeline, service map, topology, vitals, service charts.

Imports: `analysis`, `model`, `render`, `stats`, `web.charts`, `web.state`.
"""
