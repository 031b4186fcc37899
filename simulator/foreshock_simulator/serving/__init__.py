"""Model servers: language models with continuous batching, and other models with one GPU task per request.

Imports: `core`, `hardware`, `spec`.
"""
