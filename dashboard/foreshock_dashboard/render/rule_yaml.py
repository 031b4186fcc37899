"""Groups of Prometheus rules as YAML: a rule file, or one object for the Prometheus operator. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Group = Mapping[str, object]


def rule_file(groups: Sequence[Group]) -> str:
    """For `rule_files` of a Prometheus."""
    return _text({"groups": list(groups)})


def operator_rule(groups: Sequence[Group]) -> str:
    """A PrometheusRule, which the operator hands on as it is."""
    return _text(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "foreshock", "labels": {"app.kubernetes.io/name": "foreshock"}},
            "spec": {"groups": list(groups)},
        }
    )


def _text(made: Group) -> str:
    return yaml.dump(made, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Writes texts of several lines as such, and what is said twice twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as inherited
        """No `&id001` in a file that people read."""
        return True


_Plain.add_representer(
    str, lambda to, text: to.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)
