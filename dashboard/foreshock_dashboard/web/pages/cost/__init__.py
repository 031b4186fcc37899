"""The Cost page: who holds GPU time, how it is used, what it costs, and what can be saved.

Imports: `analysis`, `model`, `render`, `web.shell`, `web.state`.
"""
