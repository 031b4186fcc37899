"""A running platform, built of its specification; and what is done to it.

Imports: `calls`, `control`, `core`, `emit`, `foreshock_exporter.model`, `hardware`, `network`, `serving`, `spec`,
`traffic`, `workload`.
"""
