"""Checks the licenses in CycloneDX SBOMs: `python scripts/release/licenses.py build/sbom/*.cdx.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

PERMITTED = frozenset({
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0",
    "Zlib",
})  # fmt: skip
"""SPDX identifiers of permissive licenses, and MPL-2.0, whose copyleft ends at its own files."""
NAMES = {"Apache Software License": "Apache-2.0", "BSD License": "BSD-3-Clause", "MIT License": "MIT"}
"""Classifiers of package metadata from before PEP 639 by SPDX identifier."""
UNDECLARED = {"protobuf": "BSD-3-Clause", "resvg_py": "MIT"}
"""Licenses of packages whose metadata has none, read in their license files."""
LICENSING = get_spdx_licensing()


def licenses(component: Mapping[str, Any]) -> set[str]:
    """License expressions of a component, without the texts of license files."""
    found = set()
    for entry in component.get("licenses", ()):
        license_ = entry.get("license", {})
        name = license_.get("name", "").rpartition(" :: ")[2]
        if "text" not in license_:
            found.add(entry.get("expression") or license_.get("id") or NAMES.get(name, name))
    return found or {UNDECLARED.get(component["name"], "none")}


def is_permitted(expression: str) -> bool:
    """Whether a license of the expression may be chosen: any side of OR, all sides of AND."""
    try:
        parsed = LICENSING.parse(expression, validate=True)
    except ExpressionError:
        return False
    if parsed is None:
        return False
    values = {each: LICENSING.TRUE if str(each) in PERMITTED else LICENSING.FALSE for each in parsed.symbols}
    return bool(parsed.subs(values, simplify=True) == LICENSING.TRUE)


def main(paths: list[str]) -> int:
    """Print each component whose license is unknown or not permitted; the number of these."""
    bad = 0
    for path in paths:
        components = json.loads(Path(path).read_text())["components"]
        for component in components:
            if not any(map(is_permitted, found := licenses(component))):
                bad += 1
                print(f"{path}: {component['name']} {component['version']}: {' / '.join(sorted(found))}")
        print(f"{path}: {len(components)} components")
    return bad


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
