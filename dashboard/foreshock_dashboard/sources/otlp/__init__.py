"""The OTLP receivers: gRPC and HTTP, their limits, authentication, and refusals.

Imports: `common`, `ingest`, `model`.
"""
