"""Notifications of incidents: alerts to Alertmanager, and messages to channels through a durable outbox.

Imports: `common`, `model`, `render`, `sources`, `store`.
"""
