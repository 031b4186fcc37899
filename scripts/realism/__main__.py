"""The tables and, with --out, the charts of docs/internals/realism.md.

    .venv/bin/python -m scripts.realism PART --data DIR [--out docs/internals/realism]

DIR holds the measurements, with a folder per source: gavel/, vidur/ and so on, as in docs/internals/realism.md.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path

from scripts.realism import gpu, traffic

PARTS = {"gpu": gpu, "traffic": traffic}
"""Each module has `options(parser)` and `run(arguments)`."""


def main(argv: list[str]) -> int:
    """Exit code 0; 1 for missing data; 2 for wrong usage."""
    parser = ArgumentParser(prog="python -m scripts.realism", description=__doc__.splitlines()[0] if __doc__ else None)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, part in PARTS.items():
        subparser = parts.add_parser(name, help=part.__doc__)
        subparser.add_argument("--data", type=Path, required=True, help="folder of what was measured")
        subparser.add_argument("--out", type=Path, help="folder for the charts; none are written without")
        part.options(subparser)
    arguments = parser.parse_args(argv)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        PARTS[arguments.part].run(arguments)
    except FileNotFoundError as error:
        print(f"realism: no {error.filename}; docs/internals/realism.md says where to get it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
