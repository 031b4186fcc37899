"""Frozen values and the driver protocol shared by all collectors; imports nothing else of the exporter."""
