"""Services that call each other: replicas, queues, time-outs, retries, breakers, caches, health checks; their spans.

Imports: `spec`, `tracing`.
"""
