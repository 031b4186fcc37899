"""Changes of the platform: what values over time show.

Imports: `common`, `model`.
"""
