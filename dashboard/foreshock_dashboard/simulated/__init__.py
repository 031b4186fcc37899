"""The only folder besides `cli` that imports the simulator: demo, backfill, counterfactual, scoring.

Imports: `common`, `evaluation`, `foreshock_exporter`, `foreshock_simulator`, `hub`, `model`, `recording`, `replay`,
`settings`, `sources`.
"""
