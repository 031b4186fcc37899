"""The service, container, and join keys of a process, and the identity of the host.

Imports: `common`, `model`.
"""
