"""Doors in: scrape, OTLP, Prometheus."""
