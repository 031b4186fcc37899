"""Traffic from outside: recorded and modeled arrivals; rate and token counts can change at any time.

Imports: `core`, `spec`.
"""
