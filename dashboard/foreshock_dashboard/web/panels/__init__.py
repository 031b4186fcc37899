"""Panels that more than one page shows: timeline, service map, vitals, service charts.

Imports: `analysis`, `model`, `render`, `stats`, `web.charts`, `web.state`.
"""
