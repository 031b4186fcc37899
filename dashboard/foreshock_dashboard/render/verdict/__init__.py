"""The sentences of a verdict: an incident, a service, a trace, a GPU, a pair of services, and the platform.

Imports: `analysis.traces`, `model`, `render`.
"""
