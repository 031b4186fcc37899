"""One folder a page; a page imports no other page.

Imports: nothing.
"""
