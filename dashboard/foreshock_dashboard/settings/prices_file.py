"""The price table: prices of GPU-hours by pool and GPU model, in YAML."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, read_bounded
from foreshock_dashboard.model.cost.prices import Price, Prices

MAX_NAME = 200
FORM = "It has currency, models, and pools; a price is a number per GPU-hour, or a mapping of price and spot"
PROBLEMS = {
    "missing": "is missing",
    "string_pattern_mismatch": "is not three capital letters, such as USD",
    "extra_forbidden": "is not a known key",
}
"""What pydantic's kinds of errors mean here; any other is an unusable price."""

_Hourly = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
_Text = BeforeValidator(lambda name: str(name) if type(name) is int else name)
_Name = Annotated[str, _Text, Field(min_length=1, max_length=MAX_NAME)]
_Section = BeforeValidator(lambda section: {} if section is None else section)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Model(_Part):
    price: _Hourly | None = None
    spot: _Hourly | None = None


class _Pool(_Part):
    price: _Hourly | None = None
    spot: Annotated[bool, Field(strict=True)] = False


class _File(_Part):
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    models: Annotated[dict[_Name, _Hourly | _Model], _Section] = {}
    pools: Annotated[dict[_Name, _Hourly | _Pool], _Section] = {}


class _UniqueKeys(yaml.SafeLoader):
    """YAML whose mappings have each key once: of two prices, one would silently count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            raise ValueError(f"line {node.start_mark.line + 1}: {twice!s:.200} is in it twice. Keep one")
        return super().construct_mapping(node, deep)


def prices_file(path: Path) -> ReloadingFile[Prices]:
    """The prices of a file, read again when it changes.

    Raises:
        FileError: the file cannot be used at the start.
    """
    return ReloadingFile([path], lambda: read_prices(path), "the previous prices stay valid")


def read_prices(path: Path) -> Prices:
    """Read `currency`, `models`, and `pools`.

    Raises:
        FileError: the file cannot be read, or has another form. The message names the place.
    """
    text = read_bounded(path)
    try:
        content = _File.model_validate(yaml.load(text, _UniqueKeys))  # noqa: S506  # a SafeLoader
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part)[:MAX_NAME] for part in first["loc"][:2])
        problem = PROBLEMS.get(first["type"], "cannot be used" if len(first["loc"]) < 2 else "is not a price")
        raise FileError(f"{path}: {place or 'the file'} {problem}. {FORM}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be used: {' '.join(str(error).split())[:MAX_NAME]}") from None
    return Prices(
        content.currency,
        {name: _of_model(item) for name, item in content.models.items()},
        {name: _of_pool(item) for name, item in content.pools.items()},
    )


def _of_model(item: float | _Model) -> Price:
    return Price(_number(item.price), _number(item.spot)) if isinstance(item, _Model) else Price(item)


def _of_pool(item: float | _Pool) -> Price:
    return Price(_number(item.price), spot=item.spot) if isinstance(item, _Pool) else Price(item)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
