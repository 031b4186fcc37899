"""Routes, parameters, and answers of the JSON API, CSV lists, and advice to load balancers.

Imports: `access`, `changes`, `common`, `foreshock_exporter.common`, `model`, `render`, `response`, `web.documents`,
`web.http`, `web.pages.capacity`, `web.pages.cascade`, `web.pages.contention`, `web.pages.cost`, `web.pages.fleet`,
`web.pages.now`, `web.pages.services`, `web.pages.status`, `web.pages.traces`, `web.panels`, `web.state`.
"""
