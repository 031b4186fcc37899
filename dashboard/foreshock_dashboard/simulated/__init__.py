"""The only room besides `cli` that imports the simulator: demo, backfill, counterfactual, scoring."""
