"""Values of the capacity forecast: load in hours and days, shortages, and resources that fill up slowly.

Imports: `model`.
"""
