"""Readings and GPU occupancy spans pushed over OTLP/HTTP.

Imports: `common`, `exposition`, `gpu`, `model`.
"""
