"""How long a model server with continuous batching takes for a token, and how much of it is asked for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class Law:
    """Seconds per token = `base` + `each` · sequences per replica. `scale`: of the residual's logarithm.

    load: what is usually asked of a replica over what a full one gives, 0…1; peak: in the busiest minutes of a hundred.
    """

    base: float
    each: float
    scale: float
    load: float
    peak: float

    def seconds(self, sequences: Floats) -> Floats:
        """What a token takes with so many sequences at once."""
        return self.base + self.each * sequences

    def asked(self, sequences: Floats, room: float) -> Floats:
        """Throughput that so many sequences at once are a sign of, over that of a full replica.

        X(n) / X(room), X(n) = n / (a + b·n) tokens per second: by Little's law n is what the work asked for needs.
        Where more wait than there is room for, as many times over as they are.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            served = sequences / self.seconds(sequences) / (room / self.seconds(np.asarray(room)))
            return np.asarray(np.where(sequences > room, np.maximum(served, sequences / room), served))


@dataclass(frozen=True, slots=True)
class Strain:
    """A service's model servers at one instant.

    slowdown: time per token over what the load explains, 1 as learned; z: the same in scales. cache: KV cache used
    0…1, mean of replicas and a minute. full: for how many seconds now hardly any of it has been free. room: sequences
    per replica at which it is full. load: throughput that is asked for over what full servers give, 0…1 and above
    where requests wait, over the last LATELY seconds; loads: over the last WINDOWS; usual, peak: as the law has them.
    NaN where unknown.
    """

    slowdown: float
    z: float
    cache: float
    full: float
    room: float
    load: float
    loads: tuple[float, ...]
    usual: float
    peak: float
