"""Options of the hub and how their text is parsed.

Imports: nothing.
"""
