"""Everything of the Cascade page: data, layout, figures.

Imports: `analysis`, `model`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
