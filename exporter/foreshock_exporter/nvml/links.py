"""How many NVLinks a device has and which are up, and the sources of what is counted by link."""

from __future__ import annotations

from foreshock_exporter.nvml.asking import Asked
from foreshock_exporter.nvml.fields import ALL_LINKS, Measured, Source

MAX_LINKS = 36
"""NVML_NVLINK_MAX_LINKS."""
_LINK_COUNT = {"links": (Source(91),)}


def link_count(asked: Asked) -> int:
    """Links the device has, up or not; 0 where it has no NVLink. Asked once per device. Raises as `Asked.may`."""
    device = asked.library.device(asked.gpu)
    if device.links is None:
        said = asked.fields("links", _LINK_COUNT).get("links")
        links = int(said.value) if isinstance(said, Measured) else _probed(asked)
        device.links = min(links, MAX_LINKS)
    return device.links


def links_up(asked: Asked, links: int) -> int | None:
    """How many of them are up; None where none tells."""
    states = [_state(asked, link) for link in range(links)]
    known = [state for state in states if state is not None]
    return sum(known) if known else None


def by_link(field: int, links: int, per: float = 1.0) -> tuple[Source, ...]:
    """A field that has to be asked for link by link, summed."""
    return (Source(field, per, tuple(range(links))),) if links else ()


def over_links(field: int, links: int, per: float = 1.0) -> tuple[Source, ...]:
    """A field that may know the sum over the links, and if not, is summed."""
    return (Source(field, per, (ALL_LINKS,)), *by_link(field, links, per))


def _probed(asked: Asked) -> int:
    """Drivers before R440 do not give the number: the first link that is not there ends the count."""
    for link in range(MAX_LINKS):
        if _state(asked, link) is None:
            return link
    return MAX_LINKS


def _state(asked: Asked, link: int) -> bool | None:
    state = asked.may("nvmlDeviceGetNvLinkState", link, fine=asked.library.codes.invalid_argument)
    return None if state is None else bool(state)
