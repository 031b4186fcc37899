"""Everything of the Cascade page: data, layout, figures.

Imports: `analysis`, `model`, `web.charts`, `web.http`, `web.pages.now`, `web.panels`, `web.shell`, `web.state`.
"""
