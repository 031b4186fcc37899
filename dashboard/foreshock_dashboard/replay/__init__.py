"""The analysis over the past: recordings, earlier instants, time ranges, seasons.

Imports: `analysis`, `common`, `model`, `recording`, `render`, `settings`, `sources`, `stats`, `store`, `world`.
"""
