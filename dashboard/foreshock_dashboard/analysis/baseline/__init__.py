"""What is normal for each signal, and how far each signal is from it.

Imports: `common`, `model`, `stats`.
"""
