"""Compare lock files with known vulnerabilities on this machine.

  python scripts/release/vulnerabilities.py RECORDS LOCK...

RECORDS is a zip archive or folder of JSON records in the format of OSV (https://ossf.github.io/osv-schema/), such as
the export `PyPI/all.zip` of osv.dev.
Exit status: 0 without findings, 1 with some, 2 if the records cannot be used.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Record = Mapping[str, Any]


class Finding(NamedTuple):
    """A locked version that a vulnerability affects. fixed: the versions that it was fixed in."""

    package: str
    version: str
    vulnerability: str
    fixed: tuple[str, ...]
    summary: str


def locked(path: Path) -> dict[str, str]:
    """Version by canonical name of each package in a lock file."""
    pairs = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pairs}


def records(path: Path) -> Iterator[Record]:
    """Records of a zip archive or folder.

    Raises:
        OSError, zipfile.BadZipFile, ValueError: it cannot be read, or a file is not JSON.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield json.loads(file.read_bytes())
    else:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield json.loads(archive.read(name))


def is_affected(version: str, affected: Record) -> bool:
    """Whether an entry of a record's `affected` has the version, by its list or by its ranges."""
    return version in affected.get("versions", ()) or any(
        is_in_range(Version(version), range_["events"])
        for range_ in affected.get("ranges", ())
        if range_["type"] == "ECOSYSTEM"
    )


def is_in_range(version: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """Whether a version lies after an `introduced` and before the next `fixed`, or up to `last_affected`."""

    def place(event: Mapping[str, str]) -> Version:
        ((_, text),) = event.items()
        return Version(text)

    inside = False
    for event in sorted(events, key=place):
        if "last_affected" in event:
            inside = inside and version <= place(event)
        elif version >= place(event):
            inside = "introduced" in event
    return inside


def findings(osv: Iterator[Record], packages: Mapping[str, str]) -> tuple[list[Finding], int]:
    """Findings, and the number of records for packages of PyPI."""
    found: dict[tuple[str, str], Finding] = {}
    count = 0
    for record in osv:
        for affected in record.get("affected", ()):
            package = affected.get("package", {})
            if package.get("ecosystem") != "PyPI":
                continue
            count += 1
            name = canonicalize_name(package["name"])
            if name not in packages or "withdrawn" in record:
                continue
            try:
                if not is_affected(packages[name], affected):
                    continue
            except InvalidVersion as error:
                print(f"{record['id']}: {error}; ignored", file=sys.stderr)
                continue
            fixed = tuple(
                event["fixed"]
                for range_ in affected.get("ranges", ())
                if range_["type"] == "ECOSYSTEM"
                for event in range_["events"]
                if "fixed" in event
            )
            summary = record.get("summary") or record.get("details", "").strip().partition("\n")[0]
            found[name, record["id"]] = Finding(name, packages[name], record["id"], fixed, summary)
    return sorted(found.values()), count


def main(arguments: Sequence[str]) -> int:
    source, *locks = map(Path, arguments)
    packages: dict[str, str] = {}
    for lock in locks:
        packages |= locked(lock)
    try:
        found, count = findings(records(source), packages)
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        print(f"{source}: no records in the format of OSV: {error}", file=sys.stderr)
        return 2
    if not count:
        print(f"{source}: has no record for PyPI", file=sys.stderr)
        return 2
    for each in found:
        remedy = f"fixed in {', '.join(each.fixed)}" if each.fixed else "no fix"
        print(f"{each.package} {each.version}: {each.vulnerability}: {each.summary} ({remedy})")
    print(f"{len(packages)} packages, {count:,} records, {len(found)} findings")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
