"""The price table is read from YAML, or refused with the place and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.cost.prices import Price, Prices
from foreshock_dashboard.settings.prices_file import read_prices


def test_prices_of_models_and_pools(tmp_path: Path) -> None:
    """As numbers, or with spot prices; an empty section has none, and a pool may be named by a number."""
    file = tmp_path / "prices.yml"
    file.write_text(
        "currency: EUR\nmodels: {H100: {price: 3, spot: 1.2}, L4: 0.5}\npools: {own: 2, batch: {spot: true}, 7: 1}"
    )
    found = read_prices(file)
    file.write_text("currency: USD\nmodels:\npools: {own: 2}")

    pools = {"own": Price(2.0), "batch": Price(spot=True), "7": Price(1.0)}
    assert repr(found) == repr(Prices("EUR", {"H100": Price(3.0, 1.2), "L4": Price(0.5)}, pools))
    assert repr(read_prices(file)) == repr(Prices("USD", {}, {"own": Price(2.0)}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: {H100: 3}", "currency is missing"),
        ("currency: dollars", "currency is not three capital letters, such as USD"),
        ("currency: USD\nmodels: {H100: -1}", "models H100 is not a price"),
        ("currency: USD\nmodels: {H100: .inf}", "models H100 is not a price"),
        ("currency: USD\nmodels: {H100: yes}", "models H100 is not a price"),
        ("currency: USD\nmodels: {H100: '3'}", "models H100 is not a price"),
        ("currency: USD\npools: {a: {spot: 1}}", "pools a is not a price"),
        ("currency: USD\nmodels: [3]", "models cannot be used"),
        ("currency: USD\nmodels:\n  H100: 3\n  H100: 2", "line 3: H100 is in it twice"),
        ("currency: USD\ngpus: {}", "gpus is not a known key"),
        ("[", "cannot be used"),
        ("", "the file cannot be used"),
    ],
)
def test_an_unusable_file_is_named_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    """And with what to change."""
    file = tmp_path / "prices.yml"
    file.write_text(text)

    with pytest.raises(FileError, match=problem) as error:
        read_prices(file)
    assert str(file) in str(error.value)
