"""Everything of the Capacity page: data, layout with its chart.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.shell`, `web.state`.
"""
