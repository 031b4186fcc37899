"""What is simulated, as frozen values: the one thing that scenario files, generators and the model agree on.

Units everywhere: seconds, bytes, hertz, watts, ratios from 0 to 1. Nothing here knows of files, random numbers or time.

Imports: `core`.
"""
