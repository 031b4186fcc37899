"""Clients of trace stores: Tempo and Jaeger.

Imports: `common`, `model`, `sources`.
"""
