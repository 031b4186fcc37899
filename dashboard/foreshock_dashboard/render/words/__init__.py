"""Words of pages, API, CLI, and reports: labels, hints, states, and sentences, with `{names}` for values.

`web/assets/words.js` is generated from it (`make golden`). Layout is not vocabulary: headings, legends, and hints
that one page alone has are written beside it. A text belongs here as soon as it is a sentence, names a state or what
is missing, or is shown in two places (`tests/test_words.py`).

Imports: `model`, `response`.
"""
