"""Non-negative least squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock_dashboard.stats.nnls import nonnegative_weights

RNG = np.random.default_rng(7)


def test_known_weights_are_recovered() -> None:
    """Two of three columns with known weights, and noise."""
    columns = RNG.random((200, 3))
    y = 3.0 * columns[:, 0] + 0.5 * columns[:, 2] + RNG.normal(0, 0.01, 200)

    assert nonnegative_weights(y, columns, ridge=0.0) == pytest.approx([3.0, 0.0, 0.5], abs=0.03)


def test_a_column_that_would_need_a_negative_weight_gets_none() -> None:
    """A column that grows while the target falls has no weight."""
    column = np.linspace(0, 1, 50)[:, None]

    assert nonnegative_weights(-column[:, 0], column).tolist() == [0.0]


def test_two_equal_columns_share_the_weight() -> None:
    """The ridge decides where the data do not."""
    column = RNG.random(100)

    assert nonnegative_weights(2 * column, np.stack([column, column], axis=1)) == pytest.approx([1.0, 1.0], rel=0.05)


@pytest.mark.parametrize("turned", [1, -1])
def test_tied_columns_of_which_one_has_weight_zero_terminate(turned: int) -> None:
    """Their gradients tie at first, and the best of one is exactly 0 then."""
    y = np.array([10.0, -1.0, 0.0, 0.0, 0.0])
    columns = np.array([[1.25, 2.5, 0.75, 0.75, 0.25], [1.0, 0.0, 0.0, 0.0, 0.0]]).T

    found = nonnegative_weights(y, columns[:, ::turned])[::turned]

    assert np.isfinite(found).all()
    assert (found >= 0).all()


@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 4), min_size=1, max_size=8), st.sampled_from([0.0, 0.25, 1.0]))
def test_columns_of_integers_have_their_optimum(rows: list[tuple[int, ...]], supposed: float) -> None:
    """With ties and zeros: at the optimum no positive weight can be improved, and no zero weight raised."""
    table = np.array(rows, np.float64)
    y, columns = table[:, 0], table[:, 1:]
    found = nonnegative_weights(y, columns, 0.05, supposed)

    penalty = 0.05 * np.trace(columns.T @ columns) / 3
    slope = columns.T @ (y - columns @ found) - penalty * (found - supposed)
    assert (found >= 0).all()
    assert slope.max() <= 1e-6
    assert abs(slope[found > 1e-9]).max(initial=0.0) <= 1e-6


def test_the_prior_holds_where_the_data_do_not_decide() -> None:
    """Two equal columns are split as the prior; a distinguishable third column is not."""
    same, other = np.full(100, 3.0), 6 * RNG.random(100)
    supposed = np.array([0.2, 0.8, 5.0])

    found = nonnegative_weights(3 * 0.2 + 3 * 0.8 + other, np.stack([same, same, other], axis=1), 0.001, supposed)

    assert found == pytest.approx([0.2, 0.8, 1.0], abs=0.1)


@pytest.mark.parametrize(
    ("y", "columns"),
    [
        (np.full(5, np.nan), np.ones((5, 2))),
        (np.ones(5), np.full((5, 2), np.nan)),
        (np.ones(5), np.zeros((5, 2))),
        (np.ones(0), np.ones((0, 2))),
    ],
)
def test_without_information_all_weights_are_zero(y: np.ndarray, columns: np.ndarray) -> None:
    """NaN, constants, no samples."""
    assert nonnegative_weights(y, columns).tolist() == [0.0, 0.0]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_no_small_step_to_other_allowed_weights_is_better(seed: int) -> None:
    """The optimum, by its definition."""
    rng = np.random.default_rng(seed)
    columns, y = rng.random((30, 3)), rng.normal(size=30)
    found = nonnegative_weights(y, columns, ridge=0.01)
    ridge = 0.01 * np.trace(columns.T @ columns) / 3

    def cost(b: np.ndarray) -> float:
        return float(((y - columns @ b) ** 2).sum() + ridge * (b**2).sum())

    steps = np.concatenate([np.eye(3), -np.eye(3)]) * 1e-3
    assert all(cost(found) <= cost(np.maximum(found + step, 0.0)) + 1e-9 for step in steps)
