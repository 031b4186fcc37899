"""World and incidents reduced to values of pages and API: freshness, conditions, history, lists, parameters.

Imports: `analysis`, `common`, `foreshock_exporter.common`, `model`, `render`, `response`, `settings`, `stats`.
"""
