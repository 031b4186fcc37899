"""Pairing of client and server spans into edges, as the Collector's servicegraph connector does it.

Imports: `ingest.otlp`, `model`.
"""
