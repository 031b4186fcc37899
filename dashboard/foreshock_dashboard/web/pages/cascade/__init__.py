"""Everything of the Cascade page: data, and layout with charts.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
