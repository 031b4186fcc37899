"""`python -m foreshock_dashboard`: the same as `foreshock`."""

import sys

from foreshock_dashboard.cli.main import main

sys.exit(main())
