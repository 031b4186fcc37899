"""Everything of the Status page: data and layout.

Imports: `model`, `render`, `web.shell`, `web.state`.
"""
