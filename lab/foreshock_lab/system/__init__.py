"""A running system: namespaces, processes in control groups, stores, Prometheus, the hub, and cAdvisor's metrics.

Imports: `foreshock_dashboard.common`, `foreshock_dashboard.hub`, `foreshock_dashboard.recording`,
`foreshock_dashboard.settings`, `foreshock_dashboard.sources`, `foreshock_dashboard.web`, `record`, `topology`.
"""
