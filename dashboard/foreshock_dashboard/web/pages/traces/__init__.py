"""Everything of the Traces page: lists, one trace on its GPUs, and layout with charts.

Imports: `analysis`, `common`, `foreshock_exporter.gpu`, `ingest`, `model`, `render`, `web.charts`, `web.panels`,
`web.shell`, `web.state`, `world`.
"""
