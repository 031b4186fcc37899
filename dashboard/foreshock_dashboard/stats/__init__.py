"""Mathematics of arrays: robust statistics, quantiles, regression, change points, queues, random walks.

Imports: `model`.
"""
