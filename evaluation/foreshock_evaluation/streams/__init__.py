"""Streams: the samples of one system and its faults, from which the recording of each fault is cut.

Imports: `foreshock_dashboard.model`, `foreshock_dashboard.recording`, `foreshock_dashboard.store`.
"""
