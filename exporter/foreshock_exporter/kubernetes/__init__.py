"""The kubelet's pod-resources API, which says what pods have which GPUs.

Imports: `attribution`, `model`.
"""
