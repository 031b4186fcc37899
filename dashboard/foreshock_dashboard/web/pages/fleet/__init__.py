"""Everything of the Fleet page: data, one GPU in detail, and layout with charts.

Imports: `common`, `foreshock_exporter.model`, `model`, `render`, `web.charts`, `web.panels`, `web.shell`, `web.state`.
"""
