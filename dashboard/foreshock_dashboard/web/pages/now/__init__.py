"""Everything of the Now page: data, layout, verdict.

Imports: `analysis`, `model`, `render`, `stats`, `web.panels`, `web.shell`, `web.state`.
"""
