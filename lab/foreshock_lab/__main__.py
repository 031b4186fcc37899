"""`python -m foreshock_lab`: runs systems of real processes, in namespaces of their own."""

from __future__ import annotations

import argparse
import sys

from foreshock_lab.commands import campaign, check, merge, run
from foreshock_lab.system import namespace

COMMANDS = (check, run, campaign, merge)


def parser_of_commands() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m foreshock_lab", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main() -> int:
    """Run the command of the command line."""
    options = parser_of_commands().parse_args()
    if options.command is not merge.merge_systems:
        namespace.enter(sys.argv[1:])
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
