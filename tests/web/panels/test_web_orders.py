"""What a page writes into its address, it knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from foreshock_dashboard import web
from foreshock_dashboard.web.app import PAGES

PARAMETER = re.compile(r'param: "([\w-]+)"')
SCRIPTS = {
    f"{file.parent.name}/{file.name}": text
    for file in Path(web.__file__).parent.glob("pages/*/*.js")
    if "drawTable(" in (text := file.read_text())
}


def known(folder: str) -> set[str]:
    """The parameters of the pages in a folder."""
    props: list[dict[str, Any]] = [
        page.layout().to_plotly_json()["props"]  # type: ignore[no-untyped-call]
        for page in PAGES
        if page.layout.__module__.split(".")[-2] == folder
    ]
    return {word for each in props for name in ("takes", "keeps", "orders") for word in each[f"data-{name}"].split()}


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_order_that_a_table_writes_into_the_address_is_known_to_its_page(name: str) -> None:
    """Or a click on a head is answered by "This page does not know …"."""
    text = SCRIPTS[name]
    written = PARAMETER.findall(text)
    assert len(written) == text.count("param:"), "a parameter in a form that this test cannot read"
    if text.count("drawTable(") > len(written):
        written.append("sort")
    assert set(written) <= known(name.split("/", maxsplit=1)[0])
