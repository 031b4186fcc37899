"""Everything of the Now page: data, layout, verdict.

Imports: `model`, `render`, `web.panels`, `web.shell`, `web.state`.
"""
