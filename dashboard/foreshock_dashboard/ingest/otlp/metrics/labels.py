"""Labels of the series of a resource."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from foreshock_dashboard.ingest.otlp.metrics.names import label_name
from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.samples import MAX_LABEL_CHARACTERS, MAX_LABELS
from foreshock_dashboard.model.span import AttributeValue

PROMOTED = ("service.name", "service.namespace", "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "host.name")
"""Attributes of the resource that are labels of each of its series; all others are labels of `target_info` alone."""
INSTANCE = ("service.instance.id", "k8s.pod.name", "container.id", "host.name")
"""Attributes of the resource of which the first is the label `instance`; that of a host also has `process.pid`."""
RESERVED = ("job", "instance")
"""Labels of the resource alone; as on a scraped page, those of a point are `exported_…`."""


class ResourceLabels(NamedTuple):
    """Labels of each series of a resource, and those of its `target_info`.

    process: distinguishes processes with the same labels; "" for one with an instance id.
    """

    series: Mapping[str, str]
    info: Mapping[str, str]
    process: str


def resource_labels(pairs: Iterable[KeyValue]) -> ResourceLabels:
    """Labels for the attributes of a resource.

    `job` is `service.namespace/service.name`, or `service.name`; `instance` is the first of `INSTANCE`, as
    `host.name/process.pid` for a process on a host.
    """
    attributes = attributes_of(pairs)
    name, namespace = (_text(attributes.get(f"service.{key}")) for key in ("name", "namespace"))
    key, instance = next(((key, text) for key in INSTANCE if (text := _text(attributes.get(key)))), ("", ""))
    if key == "host.name" and (pid := _text(attributes.get("process.pid"))):
        instance = f"{instance}/{pid}"
    job = f"{namespace}/{name}" if namespace and name else name
    identity = {key: value for key, value in (("job", job), ("instance", instance)) if value}
    promoted = series_labels({key: attributes[key] for key in PROMOTED if key in attributes})
    info = {**series_labels(attributes), **identity}
    return ResourceLabels(
        {**promoted, **identity}, info, "" if key == INSTANCE[0] else json.dumps(info, sort_keys=True)
    )


def series_labels(attributes: Mapping[str, AttributeValue]) -> dict[str, str]:
    """Labels for attributes. Values of keys with the same label are joined by semicolons, in the order of the keys."""
    labels: dict[str, str] = {}
    for key in sorted(attributes):
        name, text = label_name(key), _text(attributes[key])
        name = f"exported_{name}" if name in RESERVED else name
        if name and not name.startswith("__"):
            labels[name] = f"{labels[name]};{text}" if name in labels else text
    return labels


def exceeds_limits(labels: Mapping[str, str]) -> bool:
    """Whether the labels are too many or too long."""
    return len(labels) > MAX_LABELS or any(len(text) > MAX_LABEL_CHARACTERS for pair in labels.items() for text in pair)


def _text(value: AttributeValue) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else json.dumps(value, default=str, ensure_ascii=False)
