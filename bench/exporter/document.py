"""Tables of docs/reference/exporter.md that benchmarks write."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/reference/exporter.md"


def write_section(name: str, text: str) -> None:
    """Replace what stands between the comments `name` and `/name`."""
    section = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    DOCUMENT.write_text(section.sub(lambda _: text, DOCUMENT.read_text()))
