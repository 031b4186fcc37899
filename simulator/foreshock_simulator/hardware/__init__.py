"""GPUs and hosts: what work costs there, and how those who share one slow each other down.

Imports: `spec`.
"""
