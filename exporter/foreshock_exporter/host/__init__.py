"""Collectors of the host, one per file, under node_exporter's metric names.

Imports: `common`, `model`.
"""
