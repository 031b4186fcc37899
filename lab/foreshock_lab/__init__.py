"""Laboratory: real systems of real processes under real faults, recorded with known ground truth.

Imports: `commands`, `system`.
"""
