"""The running accounts of GPU time: their thread, and their metrics.

Imports: `common`, `model`, `replay`.
"""
