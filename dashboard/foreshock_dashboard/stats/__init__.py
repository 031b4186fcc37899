"""Mathematics without a domain: robust statistics, NNLS, CUSUM, quantiles.query` only.

Imports: `model`.
"""
