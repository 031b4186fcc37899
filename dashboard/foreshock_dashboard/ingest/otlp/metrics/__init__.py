"""OTLP metrics as Prometheus samples: names, labels, histograms, and totals of deltas.

Imports: `ingest.otlp`, `model`.
"""
