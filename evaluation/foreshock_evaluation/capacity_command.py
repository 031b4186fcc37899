"""Command line of the scores of the capacity forecast."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreshock_dashboard.cli.commands import exit_code
from foreshock_dashboard.settings.settings import SettingsError
from foreshock_evaluation.capacity.accuracy import HORIZONS_HOURS, METHODS, Accuracy, accuracies
from foreshock_evaluation.capacity.announcements import CAPACITY_RATIOS, Announcements, announcements
from foreshock_evaluation.capacity.announcements import METHODS as METHODS_OF_SHORTAGES
from foreshock_evaluation.capacity.servegen import RealService, real_services
from foreshock_evaluation.options import document_text
from foreshock_evaluation.scores.tables import aligned, between, markdown

DESCRIPTION = """\
Scores the capacity forecast on two real weeks of ServeGen's clients: pinball loss and coverage beside seasonal naive
forecasts, and the shortages of peak hours that are announced twelve hours before, beside those of the last days.

  foreshock dev evaluate capacity --servegen DIR                       held-out clients
  foreshock dev evaluate capacity --servegen DIR --split dev --clients 40"""


def main(argv: Sequence[str]) -> int:
    """Score and return the exit code: 0, 1 for a failure, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        "foreshock dev evaluate capacity", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--servegen", metavar="DIR", required=True, help="folder of ServeGen's unpacked traces (CATEGORY/MODEL/*.csv)"
    )
    parser.add_argument("--split", choices=("dev", "heldout"), default="heldout", help="clients (default: heldout)")
    parser.add_argument("--clients", type=int, metavar="N", help="number of single clients (default: all)")
    parser.add_argument("--write-docs", metavar="FILE", help="document whose tables to update as well")
    arguments = parser.parse_args(argv)
    return exit_code(lambda: evaluate(arguments))


def evaluate(arguments: argparse.Namespace) -> int:
    """Score and print the tables.

    Raises:
        SettingsError: the folder has no traces, or the document no place for tables.
    """
    try:
        services = real_services(Path(arguments.servegen), arguments.split, arguments.clients)
    except FileNotFoundError as error:
        raise SettingsError(f"--servegen: {error}. Unpack ServeGen's traces there.") from error
    page = document_text(arguments.write_docs, "capacity") if arguments.write_docs else ""
    found = [*announcements(services)]
    tables = [_accuracy_table(services, [*accuracies(services)]), _shortage_table(found), _band_table(found)]
    print("\n\n".join(map(aligned, tables)))
    if page:
        text = between(page, "capacity", "\n\n".join(map(markdown, tables)))
        Path(arguments.write_docs).write_text(text, encoding="utf-8")
    return 0


def _accuracy_table(services: Sequence[RealService], found: Sequence[Accuracy]) -> list[list[str]]:
    is_sum = np.array([service.is_sum for service in services])
    rows = [["horizon", "forecast", "pinball loss: sums", "clients", "80% interval holds: sums", "clients"]]
    for hours in HORIZONS_HOURS:
        for method in METHODS:
            of = [item for item in found if (item.hours, item.method) == (hours, method)]
            if of:
                loss, coverage = (np.stack([getattr(item, name) for item in of]) for name in ("loss", "coverage"))
                figures = (
                    *(f"{np.nanmean(loss[:, which]):.3f}" for which in (is_sum, ~is_sum)),
                    *(f"{np.nanmean(coverage[:, which]):.0%}" for which in (is_sum, ~is_sum)),
                )
                rows.append([f"{hours} h" if hours < 168 else "7 days", method, *figures])
    return rows


def _shortage_table(found: Sequence[Announcements]) -> list[list[str]]:
    rows = [
        [
            "services",
            "announced by",
            "safe load / typical peak",
            "shortages",
            "announced 12 h before",
            "within 3 h of the announced time",
            "announced days",
            "without excess",
            "not judged",
            "false per service-week",
            "of these open at the end",
        ]
    ]
    for is_sum in (True, False):
        for method in METHODS_OF_SHORTAGES:
            items = [item for item in found if item.is_sum == is_sum and item.method == method]
            groups = [(f"{ratio:g}", [item for item in items if item.ratio == ratio]) for ratio in CAPACITY_RATIOS]
            shown = (*groups, ("all", items)) if method == METHODS_OF_SHORTAGES[0] else (("all", items),)
            rows += [[_kind(is_sum), method, label, *_figures(of)] for label, of in shown]
    return rows


def _figures(items: Sequence[Announcements]) -> list[str]:
    shortages, announced, timed = (sum(getattr(i, key) for i in items) for key in ("shortages", "announced", "timed"))
    days, idle, unjudged = (sum(getattr(i, key) for i in items) for key in ("days", "idle_days", "unjudged_days"))
    false, still_open = (sum(getattr(i, key) for i in items) for key in ("false", "open"))
    weeks = sum(item.weeks for item in items)
    return [
        str(shortages),
        _share(announced, shortages),
        _share(timed, shortages),
        str(days),
        _share(idle, days),
        str(unjudged),
        f"{false / weeks:.2f}" if weeks else "—",
        f"{still_open} of {false}",
    ]


def _band_table(found: Sequence[Announcements]) -> list[list[str]]:
    rows = [["services", "shortages of the median", "first excess before the 80% band", "in it", "after it, or none"]]
    for is_sum in (True, False):
        items = [item for item in found if item.is_sum == is_sum]
        counts = [sum(getattr(item, key) for item in items) for key in ("early", "inside", "late")]
        rows.append([_kind(is_sum), str(sum(counts)), *(_share(count, sum(counts)) for count in counts)])
    return rows


def _kind(is_sum: bool) -> str:
    return "sums" if is_sum else "clients"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "—"
