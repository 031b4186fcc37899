"""Everything of the Services pages: data and layout.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
