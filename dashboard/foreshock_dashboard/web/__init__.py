"""What a browser or an API client sees; the hub is known through the Protocol `HubView` only.

Imports: `common`, `mcp`, `model`, `web.api`, `web.charts`, `web.documents`, `web.http`, `web.pages.capacity`,
`web.pages.cascade`, `web.pages.contention`, `web.pages.cost`, `web.pages.fleet`, `web.pages.now`, `web.pages.services`,
`web.pages.status`, `web.pages.traces`, `web.shell`, `web.state`.
"""
