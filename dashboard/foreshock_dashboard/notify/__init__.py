"""Notifications of incidents and the capacity forecast: alerts to Alertmanager, messages to channels by an outbox.

A receiver is a peer, which is one Alertmanager, or a channel, which is one Apprise URL of the file of channels.

Imports: `common`, `model`, `render`, `settings`, `sources`, `store`.
"""
