"""Converters of public data sets of incidents to labeled recordings.

Imports: `foreshock_dashboard.analysis`, `foreshock_dashboard.common`, `foreshock_dashboard.model`,
`foreshock_dashboard.recording`.
"""
