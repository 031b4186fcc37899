"""Metrics and device readings of the simulated platform, named as in real systems.

Imports: `core`, `foreshock_exporter.host`, `foreshock_exporter.model`, `hardware`, `network`, `serving`.
"""
