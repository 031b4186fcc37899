"""The queries a World is built from, by subject: calls, GPUs, hosts, model servers, cluster.

Imports: `model`, `stats`.
"""
