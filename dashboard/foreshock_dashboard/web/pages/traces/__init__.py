"""Everything of the Traces page: data, layout, figures.

Imports: `analysis`, `common`, `foreshock_exporter.gpu`, `ingest`, `model`, `render`, `web.charts`, `web.http`,
`web.panels`, `web.shell`, `web.state`, `world`.
"""
