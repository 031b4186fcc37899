"""`python -m foreshock_evaluation` runs the command; with `explain` as first argument, the one for explanations."""

from __future__ import annotations

import sys

from foreshock_evaluation import command, explain_command

if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(explain_command.main(arguments[1:]) if arguments[:1] == ["explain"] else command.main(arguments))
