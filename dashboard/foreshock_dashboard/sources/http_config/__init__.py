"""Credentials, TLS, headers, and parameters of HTTP requests, in the words of Prometheus' `http_config`.

Imports: `common`, `model`.
"""
