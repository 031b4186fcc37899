"""The front of several hubs: one page and one list of all their incidents, and which of them answer.

Imports: `common`, `hub`, `ingest`, `model`, `render`, `settings`, `sources`, `web`.
"""
