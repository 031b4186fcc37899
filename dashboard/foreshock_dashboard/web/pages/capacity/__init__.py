"""Everything of the Capacity page: data, layout with its chart.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
