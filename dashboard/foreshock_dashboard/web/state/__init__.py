"""World and incidents reduced to what a person wants to know: freshness, conditions, stages, history.

Imports: `analysis`, `common`, `model`, `render`, `settings`, `stats`.
"""
