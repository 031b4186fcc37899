"""YAML to spec values. Each error has its line and a remedy.

Imports: `core`, `spec`.
"""
