"""Options of the hub and how their text is parsed.

Imports: `common`, `foreshock_exporter.common`.
"""
