"""Prices of GPU-hours by pool and model."""

from __future__ import annotations

import math

import pytest

from foreshock_dashboard.model.cost.prices import Price, Prices

PRICES = Prices(
    "USD",
    {
        "L40S": Price(1.0),
        "L4": Price(0.7),
        "A10": Price(0.75),
        "A100 80GB": Price(1.8),
        "H1": Price(9.0),
        "H100": Price(3.0, 1.2),
    },
    {"spot": Price(spot=True), "own": Price(0.5)},
)


@pytest.mark.parametrize(
    ("pool", "model", "expected"),
    [
        ("chat", "NVIDIA H100 80GB HBM3", 3.0),
        ("spot", "NVIDIA H100 80GB HBM3", 1.2),
        ("own", "NVIDIA H100 80GB HBM3", 0.5),
        ("eu//own", "", 0.5),
        ("chat", "NVIDIA L40S", 1.0),
        ("spot", "NVIDIA L40S", math.nan),
        ("chat", "NVIDIA L4", 0.7),
        ("chat", "NVIDIA A100-SXM4-40GB", math.nan),
        ("chat", "NVIDIA A100-SXM4-80GB", 1.8),
        ("chat", "NVIDIA RTX A1000", math.nan),
        ("chat", "AMD Instinct MI300X", math.nan),
    ],
)
def test_the_pools_price_comes_before_the_models(pool: str, model: str, expected: float) -> None:
    """The longest name of a model counts whose words are all of the GPU's; on spot capacity its spot price."""
    assert PRICES.hourly(pool, model) == pytest.approx(expected, nan_ok=True)
