"""Relabeling of targets, as Prometheus does it, with the actions that targets need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator

from foreshock_dashboard.sources.http_config.values import Block

_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+)|(\$))")


def _regex(text: object) -> re.Pattern[str]:
    try:
        return re.compile(str(text), re.DOTALL)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None


class RelabelConfig(Block):
    """One step. `regex` matches the whole of the joined values of `source_labels`."""

    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: Annotated[re.Pattern[str], BeforeValidator(_regex)] = re.compile("(.*)", re.DOTALL)
    target_label: str | None = None
    replacement: str = "$1"
    action: Literal["replace", "keep", "drop", "labelmap"] = "replace"

    @model_validator(mode="before")
    @classmethod
    def _empty_texts(cls, content: object) -> object:
        """A key without a value is the empty text, and not the default, as in Prometheus."""
        if not isinstance(content, dict):
            return content
        texts = ("separator", "regex", "replacement")
        return {key: "" if value is None and key in texts else value for key, value in content.items()}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.action == "replace" and not self.target_label:
            raise ValueError("target_label is missing. Set it, or another action")
        return self


def relabeled(labels: Mapping[str, str], steps: Sequence[RelabelConfig]) -> dict[str, str] | None:
    """The labels after all steps; None if a step drops the target."""
    result = dict(labels)
    for step in steps:
        match = step.regex.fullmatch(step.separator.join(result.get(name, "") for name in step.source_labels))
        if step.action == "labelmap":
            mapped = [(step.regex.fullmatch(name), value) for name, value in result.items()]
            result |= {_expanded(step.replacement, found): value for found, value in mapped if found}
        elif step.action == "replace":
            if match and step.target_label:
                name = _expanded(step.target_label, match)
                result[name] = _expanded(step.replacement, match)
                if not result[name]:
                    del result[name]
        elif bool(match) != (step.action == "keep"):
            return None
    return result


def _expanded(template: str, match: re.Match[str]) -> str:
    """A replacement in the syntax of Go: `$1`, `${1}`, `${name}`, `$$` for a dollar sign; unknown ones are empty."""

    def value(reference: re.Match[str]) -> str:
        if reference[3]:
            return "$"
        name = reference[1] or reference[2]
        try:
            return match[int(name) if name.isdecimal() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(value, template)
