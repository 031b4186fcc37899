"""`foreshock generate`: Prometheus rules and Grafana dashboards, with the addresses of a fleet.

Imports: `cli`, `common`, `ingest`, `model`, `render`, `settings`.
"""
