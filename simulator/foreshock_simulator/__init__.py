"""A simulated inference platform: GPUs, services, traffic and faults, with the metrics and spans of a real one.

Imports: `control`, `emit`, `foreshock_exporter`, `scenarios`, `spec`, `tracing`, `world`.
"""
