"""The frame around every page: navigation, time picker, badges, and the registry of pages.

Imports: `render.words`, `web.charts`.
"""
