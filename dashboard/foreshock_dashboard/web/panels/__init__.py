"""Panels of several pages: timeline, service map, topology, vitals, service charts, sharing of GPUs.

Imports: `analysis`, `common`, `model`, `render`, `stats`, `web.charts`, `web.state`.
"""
