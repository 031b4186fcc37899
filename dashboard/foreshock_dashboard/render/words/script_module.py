"""The catalog for the pages' scripts, which have no words of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from foreshock_dashboard.render.words.actions import ACTION_TEXTS
from foreshock_dashboard.render.words.capacity import CAPACITY_TEXTS, LOAD_KINDS
from foreshock_dashboard.render.words.cost import COST_TEXTS, GROUPINGS, HOLDINGS, SPLIT_NAMES
from foreshock_dashboard.render.words.incidents import (
    CAUSES,
    CONFIDENCE_LEVELS,
    COURSE,
    EVENTS,
    FEEDBACK,
    LOCAL_CAUSES,
    QUALITIES,
    RISKS,
    ROLES,
    SEVERITIES,
    STATES,
)
from foreshock_dashboard.render.words.panels import (
    EMPTY,
    GRID_TEXTS,
    NOW_TEXTS,
    SIGNAL_MEANINGS,
    SIGNAL_NOTES,
    TILE_TEXTS,
    TIMELINE_TEXTS,
    VERDICTS,
)
from foreshock_dashboard.render.words.services import CONDITIONS, HEALTHS, PAST_STAGES, SLO_COUNTS, STAGES


def words_module() -> str:
    """The catalog as the JavaScript module `web/assets/words.js`."""
    tables: Mapping[str, Iterable[tuple[str, str]]] = {
        "SEVERITIES": SEVERITIES.items(),
        "STATES": STATES.items(),
        "CAUSES": CAUSES.items(),
        "LOCAL_CAUSES": LOCAL_CAUSES.items(),
        "CONFIDENCE_LEVELS": CONFIDENCE_LEVELS.items(),
        "QUALITIES": QUALITIES.items(),
        "FEEDBACK": FEEDBACK.items(),
        "HEALTHS": HEALTHS.items(),
        "STAGES": STAGES.items(),
        "PAST_STAGES": PAST_STAGES.items(),
        "CONDITIONS": CONDITIONS.items(),
        "ROLES": ROLES.items(),
        "RISKS": RISKS.items(),
        "VERDICTS": VERDICTS.items(),
        "EMPTY": EMPTY.items(),
        "ACTION_TEXTS": ACTION_TEXTS.items(),
        "COURSE": COURSE.items(),
        "NOW_TEXTS": NOW_TEXTS.items(),
        "SIGNAL_NOTES": SIGNAL_NOTES.items(),
        "SIGNAL_MEANINGS": SIGNAL_MEANINGS.items(),
        "GRID_TEXTS": GRID_TEXTS.items(),
        "TIMELINE_TEXTS": TIMELINE_TEXTS.items(),
        "EVENTS": EVENTS.items(),
        "SLO_COUNTS": SLO_COUNTS.items(),
        "TILE_TEXTS": TILE_TEXTS.items(),
        "LOAD_KINDS": LOAD_KINDS.items(),
        "CAPACITY_TEXTS": CAPACITY_TEXTS.items(),
        "HOLDINGS": HOLDINGS.items(),
        "GROUPINGS": GROUPINGS.items(),
        "COST_TEXTS": COST_TEXTS.items(),
        "SPLIT_NAMES": SPLIT_NAMES.items(),
    }
    lines = ["// The catalog of words. Generated from render/words by `make golden`: change it there."]
    for name, table in tables.items():
        entries = [f'  {key}: "{word}",' for key, word in table]
        lines += ["", f"export const {name} = /** @type {{const}} */ ({{", *entries, "});"]
    return "\n".join(lines) + "\n"
