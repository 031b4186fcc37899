"""The queries by pool that documents and pages give, judged by promtool."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from foreshock_dashboard.web.pages.contention import layout

Yaml = dict[str, Any]
ROOT = Path(__file__).parents[2]
RULE = yaml.safe_load(
    re.findall(
        r"```yaml\n(- record: gpu_pool_info\n.*?)```",
        (ROOT / "docs/reference/collected-metrics.md").read_text(),
        re.DOTALL,
    )[0]
)
"""The example of a rule that makes the metric."""


def queries() -> list[str]:
    """What a reader may copy, from any document or from the page of contention."""
    asked = [
        line
        for file in sorted((ROOT / "docs").rglob("*.md"))
        for block in re.findall(r"```promql\n(.*?)```", file.read_text(), re.DOTALL)
        for line in block.splitlines()
        if "gpu_pool_info" in line
    ]
    return [*asked, *re.findall(r"title='([^']*gpu_pool_info[^']*)'", repr(layout.layout()))]


def series(metric: str, values: str, **labels: str) -> Yaml:
    """A series as promtool takes it."""
    given = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return {"series": f"{metric}{{{given}}}", "values": values}


def test_queries_by_pool_accept_a_pool_with_several_series(tool: Callable[..., str], tmp_path: Path) -> None:
    """By two jobs that scrape an exporter, and by the rule of docs/reference/collected-metrics.md beside it."""
    asked = queries()
    assert len(asked) >= 2, "one in a document, one on a page"
    targets = [{"job": job, "instance": "n1"} for job in ("one", "two")]
    given = [series("target_info", "1x20", **target, host_name="chat-1") for target in targets]
    for target in targets:
        for uuid, pool, busy in (("GPU-a", "chat", 45), ("GPU-b", "chat", 15), ("GPU-c", "batch", 60)):
            on_chat = pool == "chat"
            given += [
                series("gpu_busy_seconds_total", f"0+{busy}x20", **target, gpu="0", uuid=uuid),
                series("gpu_pool_info", "1x20", **target, uuid=uuid, pool=pool),
                *([series("gpu_info", "1x20", **target, gpu="0", uuid=uuid)] if on_chat else []),
            ]
    expected = [{"labels": '{pool="chat"}', "value": 0.5}, {"labels": '{pool="batch"}', "value": 1.0}]
    recorded = [{"labels": f'gpu_pool_info{{pool="chat",uuid="{uuid}"}}', "value": 1.0} for uuid in ("GPU-a", "GPU-b")]
    case = {
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [
            *({"expr": f"round({query}, 0.001)", "eval_time": "15m", "exp_samples": expected} for query in asked),
            {"expr": 'gpu_pool_info{job=""}', "eval_time": "15m", "exp_samples": recorded},
        ],
    }
    (tmp_path / "pools.rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "pools", "rules": RULE}]}))
    test = {"rule_files": ["pools.rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    assert "SUCCESS" in tool("promtool", "test", "rules", tmp_path / "test.yml")
