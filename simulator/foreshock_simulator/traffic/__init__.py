"""Traffic from outside: recorded and modeled arrivals whose rate and token counts can change at any time.

Imports: `core`, `spec`.
"""
