"""The file of services: owner, tier, and links of each, in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, read_bounded
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.owners.ownership import MAX_TEXT, Ownerships, is_link

MAX_LINKS = 10


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has control characters. Use one line of text")
    return text


def _link(url: str) -> str:
    if not is_link(url):
        raise ValueError("is not an http or https URL")
    return url


_Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_printable)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: _Text = ""
    tier: _Text = ""
    links: Annotated[dict[_Text, Annotated[str, AfterValidator(_link)]], Field(max_length=MAX_LINKS)] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    services: dict[str, _Entry]


def services_file(path: Path) -> ReloadingFile[Ownerships]:
    """The services of a file, read again when it changes.

    Raises:
        FileError: the file cannot be used at the start.
    """
    return ReloadingFile([path], lambda: read_services(path), "the previous services stay valid")


def read_services(path: Path) -> Ownerships:
    """Read `services:`, a mapping of names to `owner`, `tier`, and `links` (name to URL).

    Raises:
        FileError: the file cannot be read, or has another form. The message names the place.
    """
    text = read_bounded(path)
    try:
        content = _File.model_validate(yaml.safe_load(text))
        return {
            Service.parse(name): Ownership(entry.owner, entry.tier, tuple(entry.links.items()))
            for name, entry in content.services.items()
        }
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part)[:MAX_TEXT] for part in first["loc"])
        reason = first.get("ctx", {}).get("error") or first["msg"]
        raise FileError(f"{path}: {place or 'the file'}: {reason}. It maps services to owner, tier, links") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be used: {' '.join(str(error).split())[:MAX_TEXT]}") from None
