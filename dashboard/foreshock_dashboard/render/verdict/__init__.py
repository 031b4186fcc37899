"""The sentences of a verdict: an incident and its course, or a healthy platform and its data.

Imports: `model`, `render`.
"""
