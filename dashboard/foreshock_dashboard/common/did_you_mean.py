"""Suggestions for misspelled words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

MIN_SIMILARITY = 0.6


def did_you_mean(
    word: str, known: Iterable[str], prefix: str = "", shown: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The question to append to an error about an unknown word, with a space before it; "" without a similar word.

    prefix: common to all words, so that it does not make them similar. shown: what to suggest instead of a known word.
    """
    rest = [name.removeprefix(prefix) for name in known]
    similar = get_close_matches(word.removeprefix(prefix), rest, 1, MIN_SIMILARITY)
    if not similar:
        return ""
    found = prefix + similar[0]
    return f" Did you mean {shown.get(found, found)!r}?"
