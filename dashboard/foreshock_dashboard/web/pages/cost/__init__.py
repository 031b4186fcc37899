"""The Cost page: who holds GPUs, how they are used, what they cost, and which are unused.

Imports: `analysis`, `model`, `render`, `web.shell`, `web.state`.
"""
