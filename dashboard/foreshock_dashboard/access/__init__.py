"""Credentials, TLS, roles, rate limits, and the audit log, for the page and the receivers.

Imports: `common`, `foreshock_exporter.web`.
"""
