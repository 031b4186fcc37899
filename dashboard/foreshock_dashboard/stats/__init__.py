"""Mathematics without a domain: robust statistics, NNLS, CUSUM, quantiles; imports numpy and `model.query` only."""
