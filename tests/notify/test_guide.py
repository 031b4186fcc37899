"""The guide gives the bounds of the code."""

from __future__ import annotations

from pathlib import Path

from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.notify.alert_poster import RENEW_SECONDS, VALID_SECONDS
from foreshock_dashboard.notify.channels import KEYS, MAX_CHANNELS
from foreshock_dashboard.notify.delivery import MAX_AGE_SECONDS
from foreshock_dashboard.notify.due import LATENT_SECONDS, MIN_UPDATE_SECONDS
from foreshock_dashboard.notify.slow_burn_news import ACT_AHEAD_SECONDS, OTHER_LEAD_SECONDS, UPDATE_SECONDS
from foreshock_dashboard.notify.slow_burns import OVER_SECONDS, UNKNOWN_SECONDS
from foreshock_dashboard.notify.timing import BURST_MESSAGES, FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS, REFILL_SECONDS

GUIDE = Path(__file__).parents[2] / "docs/guides/notifications.md"


def test_the_guide_gives_the_bounds_and_filters() -> None:
    """As they are in the code."""
    text = " ".join(GUIDE.read_text().split())
    facts = [
        f"| retry | after {FIRST_DELAY_SECONDS:g} s, then twice as long each time, up to {MAX_DELAY_SECONDS / 60:g}",
        f"| rate | {BURST_MESSAGES} messages at once for each channel, then one every {REFILL_SECONDS:g} s |",
        f"| age | Messages older than {MAX_AGE_SECONDS / 3600:g} h are dropped",
        f"| channels | at most {MAX_CHANNELS}. Each has its own thread",
        f"At most every {MIN_UPDATE_SECONDS / 60:g} min.",
        f"a latent risk lasts {LATENT_SECONDS / 60:g} min",
        f"posts each alert when it changes, and every {RENEW_SECONDS:g} s. Alerts end {VALID_SECONDS / 60:g} min after",
        f"when its date is within {OTHER_LEAD_SECONDS / DAY_SECONDS:.0f} days".replace("2", "two"),
        f"a message comes only if the date is within {ACT_AHEAD_SECONDS / 3600:.0f} hours".replace("2", "two"),
        f"at most every {UPDATE_SECONDS / 3600:g} h, unless",
        f"would leave less than {ACT_AHEAD_SECONDS / 3600:.0f} hours".replace("2", "two"),
        f"No forecast has contained the group for {OVER_SECONDS / 3600:g} h.",
        f"If its data is missing, the message is sent after {UNKNOWN_SECONDS / 3600:g} h.",
        *(f"`{key}=" for key in KEYS),
    ]
    assert [fact for fact in facts if fact not in text] == []
