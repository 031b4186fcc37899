"""What a browser or an API client sees; the hub is known through the Protocol `HubView` only.

Imports: `common`, `model`, `web.api`, `web.charts`, `web.documents`, `web.http`, `web.pages`, `web.shell`, `web.state`.
"""
