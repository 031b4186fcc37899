"""Scrape targets from a file in the words of Prometheus' `scrape_configs`, and their discovery.

Imports: `common`, `foreshock_exporter.common`, `model`, `sources`.
"""
