"""Checks the licenses in CycloneDX SBOMs: `python scripts/licenses.py build/sbom/*.cdx.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

PERMITTED = frozenset({
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "HPND", "ISC", "MIT",
    "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
})  # fmt: skip
"""SPDX identifiers of permissive licenses, and MPL-2.0, whose copyleft ends at its own files."""
NAMES = {
    "Apache License 2.0": "Apache-2.0", "Apache Software License": "Apache-2.0", "Apache License, Version 2.0":
    "Apache-2.0", "BSD License": "BSD-3-Clause", "BSD": "BSD-3-Clause", "MIT License": "MIT", "3-Clause BSD License":
    "BSD-3-Clause", "Python Software Foundation License": "PSF-2.0",
}  # fmt: skip
"""Free texts of package metadata (before PEP 639) by SPDX identifier."""
LICENSING = get_spdx_licensing()


def expressions(component: Mapping[str, Any]) -> Iterator[str]:
    """License expressions, identifiers, and names of a component; without the texts of license files."""
    for entry in component.get("licenses", ()):
        license_ = entry.get("license", {})
        found = entry.get("expression") or license_.get("id") or license_.get("name", "")
        if "text" not in license_ and not found.startswith("declared license"):
            yield NAMES.get(found, found)


def is_permitted(expression: str) -> bool:
    """Whether a license of the expression may be chosen: any side of OR, all sides of AND."""
    try:
        parsed = LICENSING.parse(expression, validate=True)
    except ExpressionError:
        return False
    return bool(
        parsed.subs(
            {symbol: LICENSING.TRUE if str(symbol) in PERMITTED else LICENSING.FALSE for symbol in parsed.symbols},
            simplify=True,
        )
        == LICENSING.TRUE
    )


def main(paths: list[str]) -> int:
    """Print each component whose license is unknown or not permitted; the number of these."""
    bad = 0
    for path in paths:
        components = json.loads(Path(path).read_text())["components"]
        for component in components:
            found = sorted(set(expressions(component)))
            if not any(map(is_permitted, found)):
                bad += 1
                print(f"{path}: {component['name']} {component['version']}: {' / '.join(found) or 'no license'}")
        print(f"{path}: {len(components)} components")
    return bad


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
