"""ASGI middleware and plumbing: security, authentication, answers, static files, and the server.

Imports: `access`, `common`, `foreshock_exporter.web`, `model`, `web.panels`, `web.state`.
"""
