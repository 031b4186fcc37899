"""Everything of the Contention page: data, layout, figures.

Imports: `analysis`, `model`, `render`, `web.charts`, `web.http`, `web.pages.fleet`, `web.pages.now`, `web.shell`,
`web.state`.
"""
