"""One folder per page; a page imports no other page.

Imports: nothing.
"""
