"""Changes of the platform: reported by delivery tools, or shown by labels and values over time.

Imports: `common`, `model`.
"""
