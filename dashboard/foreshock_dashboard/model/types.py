"""Type aliases shared by all packages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Array of double precision; NaN is a missing value."""
Json = dict[str, Any]
"""A JSON object at the edges of the program."""
