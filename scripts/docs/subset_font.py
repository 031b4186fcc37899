"""Make the font of pages and pictures, Inter (SIL Open Font License), from the font of npm's package `inter-ui`.

  npm pack inter-ui@4.1.1 && tar xf inter-ui-4.1.1.tgz && pip install fonttools brotli
  python scripts/docs/subset_font.py package/variable/InterVariable.woff2

Keeps what the pages show: Latin-1, punctuation, arrows, and marks, in the weights 400 to 700. Tabular figures are
digits alone: Inter would space hyphens, and so names, as well.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from fontTools.subset import Options, Subsetter, parse_unicodes
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

WEB = Path(__file__).parents[2] / "dashboard/foreshock_dashboard/web"
OUTPUTS = {"woff2": WEB / "assets/inter.woff2", None: WEB / "documents/inter.ttf"}
"""The file by its flavor: for pages, and for the pictures of messages, whose renderer reads no WOFF2."""
CHARACTERS = "20-7e a0-ff 2010-2015 2018-201d 2022 2026 2190-2193 2212 221e 2248 2264-2265 2713"
MARKS = "25a0 25b2-25b3 25b6 25bc 25c0 25c6 25cb 25cf"
FEATURES = ["kern", "calt", "ccmp", "tnum", "case"]


def main(source: str) -> None:
    """Write the subset of the font file `source`."""
    instance = BytesIO()
    instancer.instantiateVariableFont(TTFont(source), {"opsz": 14, "wght": (400, 700)}).save(instance)
    font = TTFont(instance)
    digits = {name for code, name in font.getBestCmap().items() if chr(code).isdigit()}
    table = font["GSUB"].table
    for record in table.FeatureList.FeatureRecord:
        if record.FeatureTag == "tnum":
            for index in record.Feature.LookupListIndex:
                for lookup in table.LookupList.Lookup[index].SubTable:
                    single = getattr(lookup, "ExtSubTable", lookup)
                    single.mapping = {old: new for old, new in single.mapping.items() if old in digits}
    options = Options(layout_features=FEATURES, flavor="woff2", hinting=False)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=parse_unicodes(f"{CHARACTERS} {MARKS}"))
    subsetter.subset(font)
    for flavor, path in OUTPUTS.items():
        font.flavor = flavor
        font.save(path)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
