"""Recordings: folders of samples and spans that are written, read, converted, or recorded from a simulated platform.

Imports: `foreshock_exporter`, `ingest`, `model`, `sources.otlp`, `stats`, `store.blocks`, `store.samples`.
"""
