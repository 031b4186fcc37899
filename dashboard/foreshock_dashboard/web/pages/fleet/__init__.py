"""Everything of the Fleet page: data, layout, figures, one GPU in detail.

Imports: `common`, `model`, `render`, `web.charts`, `web.shell`, `web.state`.
"""
