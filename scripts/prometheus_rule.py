"""Writes compose/k8s/components/monitoring/prometheusrule.yaml: the rules of alerts/ for the Prometheus operator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "compose/k8s/components/monitoring/prometheusrule.yaml"
HEAD = "# Made of alerts/*.rules.yml by `python scripts/prometheus_rule.py`: change those, and make it again.\n"


class _Text(yaml.SafeDumper):
    """Writes texts of several lines as such, and what is said twice twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as inherited
        """No `&id001` in a file that people read."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Text.add_representer(str, _text)


def prometheus_rule(files: Sequence[Path]) -> str:
    """The groups of all files as one PrometheusRule; aliases are written out."""
    groups: list[dict[str, Any]] = [
        group for file in sorted(files) for group in yaml.safe_load(file.read_text())["groups"]
    ]
    made = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "foreshock", "labels": {"app.kubernetes.io/name": "foreshock"}},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.dump(made, Dumper=_Text, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    to = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    to.write_text(prometheus_rule(list((ROOT / "alerts").glob("*.rules.yml"))))
