"""Changes of the platform: what values over time show, and what other systems report.

Imports: `model`.
"""
