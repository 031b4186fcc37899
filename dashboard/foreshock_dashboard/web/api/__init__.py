"""Routes and response schemas of the JSON API; computes nothing.

Imports: `model`, `render`, `web.documents`, `web.http`, `web.pages`, `web.panels`, `web.state`.
"""
