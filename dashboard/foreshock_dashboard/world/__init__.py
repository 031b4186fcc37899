"""Constructor of the World: reads the query catalogue on the evaluation grid and builds arrays by entity.

Imports: `common`, `model`, `stats`.
"""
