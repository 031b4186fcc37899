"""Readings of the capacity forecast that no World has, as they matter in days: certificates, quotas, disks, and SLOs.

Imports: `model`, `world`.
"""
