"""Pairing of client and server spans into calls, as the Collector's service graph connector pairs them.

Imports: `ingest.otlp`, `model`.
"""
