"""State that several hubs share in a PostgreSQL database: the journal, the outbox, and which hub notifies.

Imports: `common`, `model`, `store`.
"""
