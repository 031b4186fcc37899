"""Collectors of the host, one per file; what node_exporter has too is under its metric names.

Imports: `common`, `model`.
"""
