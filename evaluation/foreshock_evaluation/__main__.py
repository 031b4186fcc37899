"""`python -m foreshock_evaluation` runs the command."""

from __future__ import annotations

import sys

from foreshock_evaluation.command import main

if __name__ == "__main__":
    sys.exit(main())
