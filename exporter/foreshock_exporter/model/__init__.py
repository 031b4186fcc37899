"""Values that every collector shares: driver protocol, GPU readings, service of a process, metric families.

Imports: nothing.
"""
