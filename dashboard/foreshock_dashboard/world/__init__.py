"""Constructor of the World: reads the query catalog on the evaluation grid and builds arrays by entity.

Imports: `changes`, `common`, `foreshock_exporter.model`, `model`, `stats`.
"""
