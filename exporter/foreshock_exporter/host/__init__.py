"""The host beside its GPUs: one collector a file, under the names of node_exporter.

Imports: `attribution`, `exposition`.
"""
