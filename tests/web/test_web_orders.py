"""What a page writes into its address, it knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from foreshock_dashboard import web
from foreshock_dashboard.web.app import PAGES

TOLD = re.compile(r'param: (?:"(\w+)"|id\b)')
NAMED_BY_ID = re.compile(r'\brows\("([\w-]+)"')
SCRIPTS = {
    file.stem: text
    for file in Path(web.__file__).parent.glob("assets/*.js")
    if "F.table(" in (text := file.read_text()) and "F.pages." in text
}


def known() -> dict[str, set[str]]:
    """The parameters of each page, by the name that its script has."""
    props: list[dict[str, Any]] = [page.layout().to_plotly_json()["props"] for page in PAGES]  # type: ignore[no-untyped-call]
    return {
        told["data-page"]: {word for name in ("takes", "keeps", "orders") for word in told[f"data-{name}"].split()}
        for told in props
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_order_that_a_table_writes_into_the_address_is_known_to_its_page(name: str) -> None:
    """Or a click on a head is answered by "This page does not know …"."""
    text = SCRIPTS[name]
    told = TOLD.findall(text)
    assert len(told) == text.count("param:"), "a parameter in a form that this test cannot read"
    written = {*told, *NAMED_BY_ID.findall(text)} - {""}
    if text.count("F.table(") > len(told):
        written.add("sort")
    pages = known()
    assert written <= {word for page in set(re.findall(r"F\.pages\.(\w+) = ", text)) for word in pages[page]}
