"""Generated platforms: the demo, and small, medium and large ones drawn by seed.

Imports: `core`, `hardware`, `scenarios.parsing`, `scenarios.validation`, `serving`, `spec`.
"""
