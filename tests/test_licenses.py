"""The license check of `make sbom`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripts.release import licenses


@pytest.mark.parametrize(
    ("expression", "permitted"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_an_expression_is_permitted_if_one_may_choose_permitted_licenses(expression: str, permitted: bool) -> None:
    """SPDX: either side of OR, both sides of AND."""
    assert licenses.is_permitted(expression) is permitted


def test_a_component_without_a_permitted_license_fails_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named with its license; classifiers from before PEP 639 count."""
    components = [
        {"name": "a", "version": "1", "licenses": [{"license": {"name": "License :: OSI Approved :: BSD License"}}]},
        {"name": "b", "version": "2", "licenses": [{"expression": "GPL-3.0-only"}]},
        {"name": "c", "version": "3"},
        {
            "name": "d",
            "version": "4",
            "licenses": [{"license": {"name": "declared", "text": {}}}, {"expression": "MIT"}],
        },
    ]
    (tmp_path / "sbom.json").write_text(json.dumps({"components": components}))
    assert licenses.main([str(tmp_path / "sbom.json")]) == 2
    said = capsys.readouterr().out
    assert [line.split(": ", 1)[1] for line in said.splitlines()] == ["b 2: GPL-3.0-only", "c 3: none", "4 components"]
