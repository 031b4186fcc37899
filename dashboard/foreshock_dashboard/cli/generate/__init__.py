"""`foreshock generate`: Prometheus rules, Grafana dashboards, and runbooks, with the addresses of a fleet.

Imports: `cli`, `common`, `ingest`, `model`, `render`, `settings`, `web.documents`.
"""
