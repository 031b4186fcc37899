"""Prometheus rule files: the shipped ones for one fleet, and those of SLOs.

Imports: `ingest`, `model`.
"""
