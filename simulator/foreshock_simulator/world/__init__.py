"""A running platform, built of its specification; and what is done to it.

Imports: `calls`, `control`, `emit`, `foreshock_exporter.model`, `hardware`, `network`, `scenarios`, `serving`,
`spec`, `traffic`, `workload`.
"""
