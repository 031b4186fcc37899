"""Values to text: units, sentences, terminal output, rule files.

Imports: `ingest`, `model`, `response`.
"""
