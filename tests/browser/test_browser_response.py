"""Responding to an incident on the page: one key, a dialog, and nothing to press where it would be refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.browser.site import Open, Site, violations
from tests.web.worlds import NOW, contended, contention_incident

from foreshock_dashboard.model.service import Ownership

END_IN_TOKYO, END = "2025-11-25T20:00", datetime(2025, 11, 25, 11, tzinfo=UTC).timestamp()
"""A time as the browser of these tests shows it, and in Unix seconds."""


def test_a_key_acknowledges_and_the_page_shows_it(visit: Open, site: Site) -> None:
    page = visit().page
    page.locator("[data-acknowledge]").first.wait_for()
    page.keyboard.press("a")
    page.locator(".response:has-text('Acknowledged at')").first.wait_for()
    assert page.locator("[data-acknowledge]").count() == 0
    assert [entry.data["action"] for entry in site.hub.journal.read()] == ["acknowledge"]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_dialog_adds_a_note_and_a_silence_with_its_end(visit: Open, site: Site, width: int) -> None:
    page = visit(scheme="dark" if width == 390 else "light", width=width).page
    page.locator("[data-respond]").first.click()
    page.fill("#respond textarea", "<b>paused</b>")
    page.keyboard.press("Escape")
    page.locator("#respond").wait_for(state="hidden")
    page.locator("[data-respond]").first.click()
    page.fill("#respond [name=by]", "dana")
    page.click("#respond [data-action=notes] button")
    page.locator("#respond").wait_for(state="hidden")
    page.locator("[data-respond]").first.click()
    assert violations(page) == []
    page.locator("#respond li", has_text="note “<b>paused</b>” by dana").wait_for()
    assert not page.input_value("#respond textarea")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.fill("#respond [data-action=silence] [name=end]", END_IN_TOKYO)
    page.click("#respond [data-action=silence] button")
    page.locator(".response", has_text="Silenced until").first.wait_for()
    note, silence = site.hub.journal.read()
    assert (note.by, silence.by) == ("dana", "dana")
    assert silence.data["end"] == END


def test_silences_of_a_gpu_pair_and_maintenance_windows_are_created_listed_and_ended(visit: Open, site: Site) -> None:
    """By keyboard as well, on a phone."""
    page = visit(scheme="dark", width=390).page
    page.click("#menu-open")
    page.click("#silences-open")
    pair = page.locator("#silences [data-action=silences]")
    pair.locator("[name=service]").fill("embedder")
    pair.locator("[name=noisy_neighbor]").fill("train-llm")
    pair.locator("[name=end]").fill(END_IN_TOKYO)
    pair.locator("[name=comment]").press("Enter")
    listed = page.locator("#silences .silences li")
    listed.filter(has_text="embedder / train-llm, silenced until").wait_for()
    window = page.locator("#silences [data-action=maintenance]")
    window.locator("[name=start]").fill("2025-11-25T21:00")
    window.locator("button").click()
    listed.filter(has_text="All services, maintenance from").wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    listed.filter(has_text="embedder").get_by_role("button", name="End").press("Enter")
    listed.nth(1).wait_for(state="detached")
    silence, maintenance, ended = (entry.data for entry in site.hub.journal.read())
    assert (silence["service"], silence["noisy_neighbor"], silence["end"]) == ("embedder", "train-llm", END)
    assert (maintenance["maintenance"], maintenance["start"]) == (True, END + 3600)
    assert ended["action"] == "end_silence"


def test_a_hub_that_shows_the_past_has_the_timeline_alone(visit: Open, site: Site) -> None:
    site.hub.snapshot = replace(site.hub.snapshot, bounds=(NOW - 900, NOW))
    page = visit().page
    page.locator("[data-respond]", has_text="Incident log").first.click()
    page.locator("#respond", has_text="read-only").wait_for()
    assert page.locator("[data-acknowledge], #respond form[data-action]").count() == 0


def test_the_owners_of_the_incident_are_named_with_their_links(visit: Open, site: Site) -> None:
    suspect = contention_incident(contended()).suspect.service
    assert suspect
    site.hub.owners = {suspect: Ownership("team-batch", "bronze", (("wiki", "https://wiki.example/"),))}
    page = visit().page
    fact = page.locator(".fact", has_text="team-batch")
    fact.wait_for()
    assert fact.locator("a").get_attribute("href") == "https://wiki.example/"


@pytest.mark.parametrize("width", [900, 1360])
def test_silences_are_in_the_bar_and_the_longest_choice_of_a_form_is_legible(visit: Open, width: int) -> None:
    page = visit(width=width).page
    page.locator("#silences-open").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("[data-respond]").first.click()
    clipped = """select => {
      const whole = select.cloneNode(true);
      whole.style.cssText = "position: absolute; width: max-content";
      select.parentElement.append(whole);
      const { width } = whole.getBoundingClientRect();
      whole.remove();
      return select.getBoundingClientRect().width < width;
    }"""
    selects = page.locator("#respond select").all()
    assert selects
    assert not any(select.evaluate(clipped) for select in selects)
