"""Readings of the capacity forecast that no World has, because they matter in days: certificates, quotas, and SLOs.

Imports: `model`, `world`.
"""
