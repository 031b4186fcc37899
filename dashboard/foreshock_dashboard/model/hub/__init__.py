"""What the web may see of a hub.

Imports: `model`.
"""
