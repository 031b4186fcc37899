"""World and incidents reduced to what a person wants to know: freshness, conditions, stages, history."""
