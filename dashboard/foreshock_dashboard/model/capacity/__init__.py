"""Values of the capacity forecast: load in hours and days, shortages, and slow burns.

Imports: `model`.
"""
