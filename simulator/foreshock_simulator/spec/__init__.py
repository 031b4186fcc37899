"""The scenario and its platform as frozen values, shared by scenario files, generators and the model.

Units: seconds, bytes, hertz, watts, and ratios from 0 to 1. Field names are the keys of scenario files.

Imports: `core`.
"""
