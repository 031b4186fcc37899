"""The Cost page: who holds GPU time, how it is used, what it costs, and which GPUs are unused.

Imports: `analysis`, `model`, `render`, `web.shell`, `web.state`.
"""
