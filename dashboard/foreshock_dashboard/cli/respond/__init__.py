"""Commands that change what a hub knows of incidents: acknowledge, assign, note, silence, feedback.

Imports: `cli`, `model`, `recording`, `render`, `response`, `settings`.
"""
