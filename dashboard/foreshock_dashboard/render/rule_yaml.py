"""Groups of Prometheus rules as YAML: a rule file, or a PrometheusRule for the Prometheus operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Group = Mapping[str, object]


def rule_file(groups: Sequence[Group]) -> str:
    """A file for `rule_files` of a Prometheus."""
    return _text({"groups": list(groups)})


def operator_rule(groups: Sequence[Group]) -> str:
    """A PrometheusRule with the groups."""
    return _text(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "foreshock", "labels": {"app.kubernetes.io/name": "foreshock"}},
            "spec": {"groups": list(groups)},
        }
    )


def _text(document: Group) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Writes multi-line texts as blocks, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as inherited
        """Repeat equal values instead of `&id001`."""
        return True


_Plain.add_representer(
    str, lambda to, text: to.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)
