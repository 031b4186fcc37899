"""Clients of trace stores: Tempo and Jaeger.

Imports: `common`, `foreshock_exporter.gpu`, `model`, `sources`.
"""
