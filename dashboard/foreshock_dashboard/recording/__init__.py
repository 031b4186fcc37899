"""Recordings: a folder of samples and spans that is written, read, converted, and recorded from a simulation.

Imports: `foreshock_exporter`, `ingest`, `model`, `sources`, `store`.
"""
