"""Routes, parameters, and answers of the JSON API, CSV lists, and advice to load balancers.

Imports: `model`, `render`, `web.documents`, `web.http`, `web.pages`, `web.panels`, `web.state`.
"""
