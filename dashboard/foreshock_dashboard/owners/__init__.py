"""Owner, tier, and links of services, from a file and from labels of metrics.

Imports: `common`, `model`.
"""
