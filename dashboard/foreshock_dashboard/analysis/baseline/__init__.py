"""What is normal for each signal, and how far each signal is from it.

Imports: `common`, `foreshock_exporter.model`, `model`, `stats`.
"""
