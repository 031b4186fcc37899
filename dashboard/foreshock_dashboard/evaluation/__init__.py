"""The evaluation: what the analysis says of recordings whose truth is known, beside what simpler detectors say.

Imports: `model`, `recording`, `stats`.
"""
