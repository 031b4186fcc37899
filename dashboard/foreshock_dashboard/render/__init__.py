"""Values to text: units, sentences, terminal output.

Imports: `model`, `render.words`, `response`, `stats`.
"""
