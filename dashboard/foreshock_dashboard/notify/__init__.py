"""Notifications of incidents and capacity shortages: alerts to Alertmanager, messages to channels by a durable outbox.

Imports: `common`, `model`, `render`, `settings`, `sources`, `store`.
"""
