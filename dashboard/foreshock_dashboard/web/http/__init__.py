"""ASGI middleware and plumbing: security, authentication, answers, static files, and the server.

Imports: `common`, `foreshock_exporter.web`, `model`, `web.state`.
"""
