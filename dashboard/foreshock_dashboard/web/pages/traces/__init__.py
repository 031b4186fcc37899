"""Everything of the Traces page: data, layout, figures.

Imports: `analysis`, `common`, `foreshock_exporter.gpu`, `ingest`, `model`, `render`, `web.charts`, `web.panels`,
`web.shell`, `web.state`, `world`.
"""
