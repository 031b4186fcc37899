"""One file per command: flags to settings to one call; the only folder with click and print.

Imports: `access`, `common`, `foreshock_exporter.common`, `foreshock_simulator`, `hub`, `model`, `notify`,
`recording`, `render`, `replay`, `settings`, `simulated`, `sources`, `web`.
"""
