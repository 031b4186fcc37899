"""One file per command: flags to settings to one call; the only folder with argparse and print.

Imports: `common`, `foreshock_exporter.common`, `foreshock_simulator`, `hub`, `ingest`, `model`, `recording`,
`render`, `replay`, `settings`, `simulated`, `sources`, `web`.
"""
