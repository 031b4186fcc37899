"""Services that call each other: replicas, retries, timeouts, circuit breakers, caches and health probes.

Imports: `core`, `spec`, `tracing`.
"""
