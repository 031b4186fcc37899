"""Labels of enumerations, hints, and empty states for pages, API, CLI, and reports. Sentences are not here.

`web/assets/words.js` is generated from it (`make golden`).

Imports: `model`, `response`.
"""
