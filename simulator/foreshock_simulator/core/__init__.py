"""The event engine, random streams and names that all other folders build on.

Imports: nothing.
"""
