"""ASGI plumbing: security, authentication, caching, static files, query parameters, time ranges."""
