"""Everything of the Contention page: data, and layout with charts.

Imports: `analysis`, `common`, `model`, `render`, `stats`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
