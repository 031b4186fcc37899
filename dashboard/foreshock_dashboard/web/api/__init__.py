"""Routes and response schemas of the JSON API; computes nothing.

Imports: `model`, `render`, `web.documents`, `web.http`, `web.pages.cascade`, `web.pages.contention`,
`web.pages.fleet`, `web.pages.now`, `web.pages.services`, `web.pages.status`, `web.pages.traces`, `web.state`.
"""
