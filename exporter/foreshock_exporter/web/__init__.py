"""The HTTP server of the exporter: TLS, basic authentication, metrics and health endpoints.

Imports: `common`, `exposition`, `model`.
"""
