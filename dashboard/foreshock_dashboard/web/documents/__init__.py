"""Documents served or written as a whole: post-mortems and runbooks.

Imports: `analysis`, `common`, `model`, `render`, `web.charts`.
"""
