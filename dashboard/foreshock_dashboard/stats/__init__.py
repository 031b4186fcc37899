"""Mathematics without a domain: robust statistics, quantiles, regression, change points, random walks.

Imports: `model`.
"""
