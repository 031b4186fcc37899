"""Everything of the Services pages: data, layout, sentence.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
