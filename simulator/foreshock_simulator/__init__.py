"""A simulated inference platform: GPUs, services, traffic and faults that emit what the real world emits.

Imports: `control`, `emit`, `foreshock_exporter`, `scenarios`, `spec`, `tracing`, `world`.
"""
