"""What fills up or runs out within days.

Imports: `analysis.baseline`, `analysis.capacity`, `model`.
"""
