"""Recordings: folders of samples and spans that are written, read, and converted.

Imports: `foreshock_exporter.exposition`, `ingest`, `model`, `sources`, `stats`, `store`.
"""
