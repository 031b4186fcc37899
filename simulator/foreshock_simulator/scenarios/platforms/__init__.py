"""Generated platforms: the demo's, and small, medium, and large ones drawn by seed.

Imports: `hardware`, `scenarios`, `serving`, `spec`.
"""
