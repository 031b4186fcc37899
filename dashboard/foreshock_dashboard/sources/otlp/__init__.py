"""The OTLP receivers: gRPC and HTTP, their limits, authentication, and refusals.

Imports: `access`, `common`, `ingest`, `model`, `sources.prometheus`.
"""
