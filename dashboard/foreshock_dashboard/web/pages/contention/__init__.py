"""Everything of the Contention page: data, layout, figures.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.shell`, `web.state`.
"""
