"""The one place where names get into a figure: Plotly reads a subset of HTML in every text."""

from __future__ import annotations

from html import escape

MAX_TEXT_LENGTH = 80


def escape_label(text: str, longest: int = MAX_TEXT_LENGTH) -> str:
    """Escaped text, shortened to a length that fits a tooltip."""
    return escape(text if len(text) <= longest else text[: longest - 1] + "…", quote=False)
