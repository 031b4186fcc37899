"""The only folder besides `cli` that imports the simulator: the demo, its history, its endpoints.

Imports: `common`, `foreshock_exporter`, `foreshock_simulator`, `hub`, `model`, `recording`, `settings`, `sources`.
"""
