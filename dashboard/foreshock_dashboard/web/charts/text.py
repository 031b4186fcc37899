"""Escaping of texts in figures: Plotly interprets a subset of HTML in every text."""

from __future__ import annotations

from html import escape

MAX_TEXT_LENGTH = 80


def escape_label(text: str, longest: int = MAX_TEXT_LENGTH) -> str:
    """The text with HTML escaped, cut to `longest` characters before escaping."""
    return escape(text if len(text) <= longest else text[: longest - 1] + "…", quote=False)
