"""Everything of the Contention page: data, layout, figures.

Imports: `analysis`, `model`, `render`, `stats`, `web.charts`, `web.shell`, `web.state`.
"""
