"""Changes of the platform: what values over time show.

Imports: `model`.
"""
