"""The exporter over HTTP: who may ask, and what is answered.

Imports: `exposition`.
"""
