"""Values of the cost accounting: who held which GPUs, how they were used, prices, and idle holdings.

Imports: `model`.
"""
