"""Random numbers depend on the seed alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.core.randomness import random_stream, standard_normals


@given(st.integers(0, 1000), st.lists(st.booleans(), max_size=40))
def test_normals_are_those_of_the_generator_itself(seed: int, draws: list[bool]) -> None:
    """To the last bit, also with other draws in between."""
    ours, theirs = random_stream(seed, "some use"), random_stream(seed, "some use")
    normal = standard_normals(ours)
    for another in draws:
        assert next(normal) == theirs.gauss()
        if another:
            assert ours.random() == theirs.random()
