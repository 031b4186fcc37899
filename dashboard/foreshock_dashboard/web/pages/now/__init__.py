"""Everything of the Now page: data, layout, verdict.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
