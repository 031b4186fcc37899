"""What earlier releases wrote is read: the files in tests/kept, a folder for each of the last three releases.

A release adds its folder: `store.tar.xz` (the requests 0 to 9 of tests/store/faults/contents.py, after `kill -9`),
`recording/`, and from 0.2 on `openapi.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import schemathesis
from tests.store.faults import contents
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard import __version__
from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.renamed_metrics import current_names
from foreshock_dashboard.web.app import create_app

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "kept"
RELEASES = sorted(path.name for path in KEPT.iterdir())
LAST_RELEASES = 3


def test_the_last_releases_are_kept() -> None:
    """Those of the changelog before the current one, and 0.1, which was not published."""
    released = re.findall(r"^## (\d+\.\d+)\.\d+", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    current = __version__.rpartition(".")[0]
    earlier = [name for name in [*released, "0.1"] if name != current]
    assert {*list(dict.fromkeys(earlier))[:LAST_RELEASES]} <= {*RELEASES}


@pytest.mark.parametrize("release", RELEASES)
def test_a_store_of_an_earlier_release_has_all_its_data(release: str, tmp_path: Path) -> None:
    contents.unpack_old_store(tmp_path / "store", release)
    store = contents.open_store(tmp_path / "store")
    everything = contents.Acknowledged({*range(contents.OLD_REQUESTS)}, {*range(contents.OLD_REQUESTS)})
    assert contents.problems(store, everything, everything.end) == []
    assert store.stats().corrupt == 0
    store.close()


@pytest.mark.parametrize("release", RELEASES)
def test_a_recording_of_an_earlier_release_has_the_metrics_of_today(release: str) -> None:
    with Recording(KEPT / release / "recording") as recording:
        assert all(series[:2] == current_names(*series[:2]) for series in recording.series)
        assert sum(len(part.times) for part in recording.samples()) == recording.meta.samples
        assert sum(map(len, recording.spans())) == recording.meta.spans
        metrics, end = RecordedMetrics(recording), recording.meta.end
        assert end is not None
        for metric in ("gpus_expected", "gpu_service_wait_by_aggressor_seconds_total", "gpu_memory_active_ratio"):
            matrix = metrics.fetch(Query(metric, window=60.0), end - 30, end, 10)
            assert np.isfinite(matrix.values).any(), metric


@pytest.mark.parametrize("release", [name for name in RELEASES if (KEPT / name / "openapi.json").exists()])
def test_the_api_has_all_addresses_parameters_and_fields_of_an_earlier_release(release: str) -> None:
    """Of the same major version; a removal needs a deprecation in the release before."""
    before = json.loads((KEPT / release / "openapi.json").read_text())
    missing = {*described(before)} - {*described(openapi())}
    assert not missing


def test_a_field_that_is_gone_is_found() -> None:
    """The comparison above, on a copy of today's description without one of its fields."""
    before, after = openapi(), openapi()
    schemas = after["components"]["schemas"]
    name, schema = next((name, schema) for name, schema in schemas.items() if "properties" in schema)
    field = next(iter(schema["properties"]))
    del schema["properties"][field]
    assert {*described(before)} - {*described(after)} == {f"{name}.{field}"}


def openapi() -> Json:
    """Return the description of the API."""
    app = create_app(FakeHub(SCENES["contended"]()), version="0.0.0-test", hosts={"*"})
    document: Json = json.loads(json.dumps(schemathesis.openapi.from_asgi("/api/openapi.json", app).raw_schema))
    return document


def described(description: Json) -> Iterator[str]:
    """Yield addresses with methods, their parameters, and the fields of all answers."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                yield f"{method.upper()} {path}?{parameter['name']}"
    for name, schema in description["components"]["schemas"].items():
        for field in schema.get("properties", ()):
            yield f"{name}.{field}"
