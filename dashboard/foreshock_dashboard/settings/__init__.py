"""Options of the hub and how their text is parsed.

Imports: `access`, `common`, `foreshock_exporter.common`, `model`.
"""
