"""Reported changes for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from foreshock_dashboard.changes.fields import cleaned, link_of
from foreshock_dashboard.model.change import CHANGE_KINDS, REPORT_SOURCES, STAGES, Change
from foreshock_dashboard.model.service import Service

TEXTS = st.text(max_size=30).map(cleaned)
NAMES = TEXTS.filter(lambda name: name and "/" not in name)


def changes() -> st.SearchStrategy[Change]:
    """Any reported change; its time is 0."""
    return st.builds(
        Change,
        at=st.just(0.0),
        kind=st.sampled_from(CHANGE_KINDS),
        service=st.none() | st.builds(Service, st.just("") | NAMES, NAMES),
        host=TEXTS,
        setting=TEXTS,
        before=TEXTS,
        after=TEXTS,
        stage=st.sampled_from(STAGES),
        source=st.sampled_from(REPORT_SOURCES),
        title=TEXTS,
        link=st.sampled_from(["", "https://a.example/b?c=d", "http://[::1]:80/"]).map(link_of),
        author=TEXTS,
        key=TEXTS,
        failed_at=st.none() | st.floats(0, 4e9),
    )
