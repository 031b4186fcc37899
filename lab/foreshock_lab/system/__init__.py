"""A running system: namespaces, processes in control groups, stores, Prometheus, the hub, and cAdvisor's metrics.

Imports: `record`, `topology`, `foreshock_dashboard`.
"""
