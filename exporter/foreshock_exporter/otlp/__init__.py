"""What is pushed over OTLP. Only `names`, `readings` and `status` do without the SDK.

Imports: `exposition`, `gpu`, `model`.
"""
