"""The price table is read from YAML, or refused with the place and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.cost.prices import Price, Prices
from foreshock_dashboard.settings.prices_file import read_prices


def test_prices_of_models_and_pools(tmp_path: Path) -> None:
    """As numbers, or with spot prices."""
    file = tmp_path / "prices.yml"
    file.write_text(
        "currency: EUR\nmodels: {H100: {price: 3, spot: 1.2}, L4: 0.5}\npools: {own: 2, batch: {spot: true}}"
    )
    found = read_prices(file)

    assert repr(found) == repr(
        Prices("EUR", {"H100": Price(3.0, 1.2), "L4": Price(0.5)}, {"own": Price(2.0), "batch": Price(spot=True)})
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: {H100: 3}", "currency: Field required"),
        ("currency: dollars", "currency: String should match pattern"),
        ("currency: USD\nmodels: {H100: -1}", "models H100"),
        ("currency: USD\nmodels: {H100: .inf}", "models H100"),
        ("currency: USD\ngpus: {}", "gpus: Extra inputs are not permitted"),
        ("[", "cannot be used"),
        ("", "the file"),
    ],
)
def test_an_unusable_file_is_named_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    """And with the form that it must have."""
    file = tmp_path / "prices.yml"
    file.write_text(text)

    with pytest.raises(FileError, match=problem) as error:
        read_prices(file)
    assert str(file) in str(error.value)
