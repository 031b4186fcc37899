"""The price table: prices of GPU-hours by pool and GPU model, in YAML."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, read_bounded
from foreshock_dashboard.model.cost.prices import Price, Prices

MAX_NAME = 200
FORM = "It has currency, models, and pools; a price is a number per GPU-hour, or a mapping of price and spot"

_Hourly = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    price: _Hourly | None = None
    spot: _Hourly | None = None


class _Pool(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    price: _Hourly | None = None
    spot: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    models: dict[_Name, _Hourly | _Model] = {}
    pools: dict[_Name, _Hourly | _Pool] = {}


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
        content = _File.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part)[:MAX_NAME] for part in first["loc"])
        raise FileError(f"{path}: {place or 'the file'}: {first['msg']}. {FORM}") from None
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
