"""The comparison of lock files with known vulnerabilities."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts.release import vulnerabilities

LOCK = "Some_Package==1.10.0 \\\n    --hash=sha256:00\nother==2.0 ; python_version < '3.13' \\\n    --hash=sha256:00\n"


def record(
    affected: dict[str, object] | None = None, name: str = "some-package", ecosystem: str = "PyPI", withdrawn: str = ""
) -> dict[str, object]:
    """A record in OSV's format. affected: its versions or ranges."""
    entry = {"package": {"ecosystem": ecosystem, "name": name}, **(affected or {})}
    fields: dict[str, object] = {"id": "TEST-1", "summary": "a flaw", "affected": [entry]}
    return {**fields, "withdrawn": withdrawn} if withdrawn else fields


def ranges(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, object]:
    """Ranges of affected versions."""
    return {"ranges": [{"type": kind, "events": list(events)}]}


@pytest.mark.parametrize(
    ("osv", "finding"),
    [
        (record({"versions": ["1.9", "1.10.0"]}), True),
        (record({"versions": ["1.1"]}), False),
        (record(ranges({"introduced": "0"})), True),
        (record(ranges({"introduced": "0"}, {"fixed": "1.10.0"})), False),
        (record(ranges({"introduced": "0"}, {"fixed": "1.9"})), False),
        (record(ranges({"introduced": "0"}, {"fixed": "1.11"})), True),
        (record(ranges({"introduced": "1.10.1"})), False),
        (record(ranges({"introduced": "0"}, {"last_affected": "1.10.0"})), True),
        (record(ranges({"introduced": "0"}, {"last_affected": "1.9.9"})), False),
        (record(ranges({"fixed": "1.2"}, {"introduced": "1.9"}, {"introduced": "1.0"})), True),
        (record(ranges({"introduced": "0"}, kind="GIT")), False),
        (record(ranges({"introduced": "0"}), name="Some.Package"), True),
        (record(ranges({"introduced": "0"}), ecosystem="npm"), False),
        (record(ranges({"introduced": "0"}), name="unused"), False),
        (record(ranges({"introduced": "0"}), withdrawn="2026-01-01T00:00:00Z"), False),
        (record(ranges({"introduced": "not a version"})), False),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_locked_version_with_a_known_vulnerability_fails_the_check(
    tmp_path: Path, osv: dict[str, object], finding: bool, packed: bool
) -> None:
    """By OSV's rules for ranges; names are compared as PyPI does."""
    lock, text = tmp_path / "a.lock", json.dumps(osv)
    lock.write_text(LOCK)
    source = tmp_path / ("all.zip" if packed else "folder")
    if packed:
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("TEST-1.json", text)
            archive.writestr("TEST-2.json", json.dumps(record(name="unrelated")))
    else:
        (source / "some-package").mkdir(parents=True)
        (source / "some-package/TEST-1.json").write_text(text)
        (source / "TEST-2.json").write_text(json.dumps(record(name="unrelated")))
    assert vulnerabilities.main([str(source), str(lock)]) == int(finding)


def test_a_finding_names_package_vulnerability_and_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.lock").write_text(LOCK)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/1.json").write_text(json.dumps(record(ranges({"introduced": "0"}, {"fixed": "2.0"}))))
    vulnerabilities.main([str(tmp_path / "x"), str(tmp_path / "a.lock")])
    assert capsys.readouterr().out.splitlines() == [
        "some-package 1.10.0: TEST-1: a flaw (fixed in 2.0)",
        "2 packages, 1 records, 1 findings",
    ]


def missing(path: Path) -> None:
    """Nothing at the path."""
    path.with_suffix(".other").touch()


def no_archive(path: Path) -> None:
    path.write_text("<html>")


def no_json(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.json", "{")


def empty(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [missing, no_archive, no_json, empty])
def test_records_that_cannot_be_used_are_no_clean_result(
    tmp_path: Path, make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """They are named."""
    (tmp_path / "a.lock").write_text(LOCK)
    make(tmp_path / "records.zip")
    assert vulnerabilities.main([str(tmp_path / "records.zip"), str(tmp_path / "a.lock")]) == 2
    assert "records.zip: " in capsys.readouterr().err
