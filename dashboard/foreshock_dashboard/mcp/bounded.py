"""The size of an answer: rows are left out until it fits, and counted."""

from __future__ import annotations

import json

from foreshock_dashboard.mcp.untrusted import clean_document
from foreshock_dashboard.model.types import Json

MAX_ANSWER_BYTES = 64 * 1024
"""Bytes of the body of a response, which has the answer twice: as JSON, and as text."""
ENVELOPE_BYTES = 1024
"""Bytes of a body around the answer, at most."""


def encoded(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def size(answer: object) -> int:
    """Bytes of an answer in a body: as JSON, and as a text that has this JSON."""
    text = encoded(answer)
    return len(text.encode()) + len(encoded(text).encode())


def bounded(answer: Json) -> Json:
    """An answer that fits, without the last rows of its longest lists, which `omitted` counts; a document is cut.

    Raises:
        ValueError: the rest is too large.
    """
    kept: Json = {name: list(value) if isinstance(value, list) else value for name, value in answer.items()}
    lists = [value for value in kept.values() if isinstance(value, list)]
    while (excess := size(kept) - MAX_ANSWER_BYTES + ENVELOPE_BYTES) > 0:
        if len(markdown := kept.get("markdown", "")) > 1:
            kept["markdown"] = clean_document(markdown, len(markdown) * 3 // 4)
        elif not any(lists):
            raise ValueError(f"the answer is larger than {MAX_ANSWER_BYTES // 1024} KiB")
        while excess > 0 and any(lists):
            excess -= size(max(lists, key=len).pop())
            kept["omitted"] += 1
    return kept
