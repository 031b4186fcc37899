"""The documentation site has every document, reads as written, and uses the vocabulary of docs/glossary.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / "alerts/runbooks").glob("*.md")])
TEXTS = [*PAGES, *sorted(ROOT.glob("*.md")), ROOT / "compose/README.md"]
UNTIDY = re.compile(
    r"\b(told|tells|anew|nobody|anybody|somebody|in vain|mend(s|ed)?|culprits?|objectives?|usual(ly)?|neighbours?"
    r"|colours?|time-outs?|utilisation|modelled|licences?|behaviour|advisor(y|ies)|for want of|whose doing)\b"
    r"|\d %",
    re.IGNORECASE,
)
"""Words that the vocabulary replaces, British spelling, and a space before a percent sign."""


def prose(text: str) -> str:
    """The text without code, whose names may hold any word."""
    return re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)


def test_the_navigation_lists_every_document() -> None:
    """None is left out, and each once."""
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)

    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_code_within_a_list_is_indented_by_four_spaces(path: Path) -> None:
    """Python-Markdown, which builds the site, ends the list at less."""
    assert re.findall(r"^ {1,3}```.*$", path.read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_documents_use_the_words_of_the_field(path: Path) -> None:
    """In sentences and tables; code, links, and the changelog's table of old names are free."""
    found = [match[0] for match in UNTIDY.finditer(prose(path.read_text().partition("\n### Renamed\n")[0]))]

    assert found == []


def test_every_metric_that_documents_name_is_exported() -> None:
    """Complete names of the exporter's and the hub's metrics; none is out of date."""
    metrics = (DOCS / "reference/metrics.md").read_text()
    json_keys = {"gpu_wait_ratio"}  # of the API, also in metrics' form
    named = {
        (path.name, name)
        for path in TEXTS
        if path.name != "CHANGELOG.md"
        for name in re.findall(r"`(\w+)(?:\{[^`]*)?`", path.read_text())
        if re.fullmatch(r"(foreshock|gpus?)_\w+_(total|bytes|ratio|info|success|healthy)", name)
        and name not in json_keys
    }

    assert [item for item in sorted(named) if f"`{item[1]}" not in metrics] == []
