"""The catalog of words: labels of enumerations, hints, and empty states for pages, API, CLI, and reports.

`web/assets/words.js` is generated from it (`make golden`).

Imports: `model`, `response`.
"""
