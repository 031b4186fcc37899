"""Model servers: what stands between a request and the GPU. Language models batch continuously, others by request.

Imports: `core`, `hardware`, `spec`.
"""
