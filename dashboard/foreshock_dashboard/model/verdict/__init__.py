"""Values of which a verdict consists: services beside their limits, the course of an incident, and a healthy platform.

Imports: `model`.
"""
