"""Label values from names that anybody may have chosen: bounded and printable."""

from __future__ import annotations

MAX_LABEL_CHARS = 128
"""Characters of a label value; what is longer is cut."""


def label_value(text: str) -> str:
    """Printable characters and single spaces, at most `MAX_LABEL` of them; never a space at either end."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:MAX_LABEL_CHARS].rstrip()
