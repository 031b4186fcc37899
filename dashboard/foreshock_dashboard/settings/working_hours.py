"""Working hours: days of the week and times of the day, in a time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DEFAULT = "Mon-Fri 09:00-17:00"
PROBLEM = f"not working hours. Use DAYS HH:MM-HH:MM [TIME ZONE], such as '{DEFAULT}'"
_FORM = re.compile(r"(?P<first>\w{3})(-(?P<last>\w{3}))? (?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)( (?P<zone>\S+))?")


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Times from `start` to before `end` on some days of the week (0 is Monday). zone: None for that of the process."""

    days: frozenset[int]
    start: time
    end: time
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, text: str) -> WorkingHours:
        """Working hours such as `Mon-Fri 09:00-17:00 Europe/Berlin`. Raises ValueError."""
        if not (match := _FORM.fullmatch(text)):
            raise ValueError(PROBLEM)
        try:
            first = DAYS.index(match["first"])
            last = DAYS.index(match["last"] or match["first"])
            start, end = (time.fromisoformat(match[name]) for name in ("start", "end"))
            zone = ZoneInfo(match["zone"]) if match["zone"] else None
        except (ValueError, ZoneInfoNotFoundError, OSError):
            raise ValueError(PROBLEM) from None
        if start >= end:
            raise ValueError("the end is not after the start")
        days = frozenset((first + number) % 7 for number in range((last - first) % 7 + 1))
        return cls(days, start, end, zone)

    def contains(self, at: float) -> bool:
        """Whether a time (Unix seconds) is in working hours."""
        local = self._local(at)
        return local.weekday() in self.days and self.start <= local.time() < self.end

    def next_start(self, at: float) -> float:
        """Unix seconds of the first beginning of working hours after a time."""
        today = self._local(at).date()
        starts = (self._start_of(today + timedelta(days=number)) for number in range(9))
        return next(start for start in starts if start is not None and start > at)

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, self.zone) if self.zone else datetime.fromtimestamp(at).astimezone()

    def _start_of(self, day: date) -> float | None:
        """Unix seconds at which the working hours of a day begin; None for a day without any."""
        return datetime.combine(day, self.start, self.zone).timestamp() if day.weekday() in self.days else None
