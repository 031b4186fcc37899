"""The running process: wiring, threads, the evaluation loop, and its own metrics.

Imports: `access`, `analysis`, `changes`, `common`, `hub.cost`, `ingest`, `model`, `notify`, `owners`, `recording`,
`render`, `replay`, `response`, `settings`, `shared`, `sources`, `store`, `web`, `world`.
"""
