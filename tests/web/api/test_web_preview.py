"""A hub that still reads the history: every answer says that incidents are not known yet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.web.caller import Caller
from tests.web.worlds import NOW, SCENES

from foreshock_dashboard.render.words.panels import HISTORY_BEING_READ
from foreshock_dashboard.web.pages.status.data import data_health
from foreshock_dashboard.web.state.freshness import why_unknown


@pytest.fixture(scope="module")
def preview(shared_look: Callable[[str], Caller]) -> Caller:
    """The app of such a hub."""
    return shared_look("preview")


@pytest.mark.parametrize("path", ["now", "services", "incidents", "headroom", "status", "health/gateway"])
def test_every_answer_of_the_api_marks_a_preview(preview: Caller, path: str) -> None:
    """The values are good; that there is no incident means nothing."""
    assert preview.get(f"/api/{path}").json()["preview"] is True


@pytest.mark.parametrize("name", ["incidents", "services", "gpus"])
def test_the_name_of_a_csv_file_says_preview(preview: Caller, caller: Caller, name: str) -> None:
    """A file without incidents would read like a healthy platform."""
    marked = {app: app.get(f"/api/csv/{name}").headers["content-disposition"] for app in (preview, caller)}
    assert marked[preview].endswith('-preview.csv"')
    assert "preview" not in marked[caller]


def test_an_evaluation_is_not_marked(caller: Caller) -> None:
    """Clients of an older version see no difference."""
    assert "preview" not in caller.get("/api/now").json()


def test_the_pages_do_not_call_it_healthy(preview: Caller) -> None:
    """Nor is it said that a baseline is built: the history may be there."""
    verdict = preview.get("/api/now").json()["verdict"]
    assert verdict["state"] == "learning"
    assert "Reading the history" in str(verdict["clauses"])
    assert "Incidents are not detected until then." in str(verdict["notes"])
    snapshot = SCENES["preview"]()
    health = data_health(snapshot, {}, (False, ""), NOW)
    assert (health["state"], health["headline"]) == ("learning", HISTORY_BEING_READ)
    assert why_unknown(snapshot) == HISTORY_BEING_READ
