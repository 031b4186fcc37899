"""The running platform, built from its spec, and the faults applied to it.

Imports: `calls`, `control`, `core`, `emit`, `foreshock_exporter.model`, `hardware`, `network`, `serving`, `spec`,
`traffic`.
"""
