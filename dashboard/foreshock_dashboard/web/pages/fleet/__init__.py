"""Everything of the Fleet page: data, layout, figures, one GPU in detail.

Imports: `model`, `render`, `web.charts`, `web.http`, `web.pages.now`, `web.shell`, `web.state`.
"""
