"""Suggestions for misspelled words."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MIN_SIMILARITY = 0.6


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question to append to an error about an unknown word, with a space before it; "" without a similar word."""
    similar = get_close_matches(word, list(known), 1, MIN_SIMILARITY)
    return f" Did you mean {similar[0]!r}?" if similar else ""
