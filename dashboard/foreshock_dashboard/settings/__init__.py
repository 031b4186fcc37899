"""Options of the hub and how their text is parsed.

Imports: `foreshock_exporter.common`.
"""
