"""Everything of the Fleet page: data, one GPU in detail, and layout with charts.

Imports: `analysis.baseline`, `common`, `foreshock_exporter.model`, `model`, `render`, `web.charts`, `web.panels`,
`web.shell`, `web.state`.
"""
