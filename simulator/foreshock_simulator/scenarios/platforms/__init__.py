"""Generated platforms: the demo, and small, medium and large ones drawn by seed.

Imports: `core`, `hardware`, `scenarios.validation`, `serving`, `spec`.
"""
