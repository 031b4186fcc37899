"""ASGI plumbing: security, authentication, caching, static files, query parameters, time ranges.

Imports: `common`, `foreshock_exporter.web`, `model`, `sources`, `web.state`.
"""
