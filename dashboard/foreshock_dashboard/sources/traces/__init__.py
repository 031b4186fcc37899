"""Clients of trace stores: Tempo and Jaeger."""
