"""The only folder besides `cli` that imports the simulator: the demo, its backfill and endpoints, the recorder.

Imports: `common`, `foreshock_exporter`, `foreshock_simulator`, `hub`, `ingest`, `model`, `recording`, `settings`,
`sources`.
"""
