"""What a system consists of: services, what each request does, and how a seed draws one.

Imports: nothing.
"""
