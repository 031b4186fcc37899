"""Documents served or written as a whole: postmortems and runbooks.

Imports: `analysis`, `common`, `model`, `render`, `response`, `web.charts`, `web.state`.
"""
