"""Label values from untrusted names: bounded and printable."""

from __future__ import annotations

MAX_LABEL_CHARS = 128
"""Longest label value; longer text is cut."""


def label_value(text: str) -> str:
    """Printable characters with single spaces, stripped, at most `MAX_LABEL_CHARS` long."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:MAX_LABEL_CHARS].rstrip()
