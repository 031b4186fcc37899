"""`foreshock recording label`: feedback on an incident as the ground truth of a recording of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import orjson

from foreshock_dashboard.cli.incident import incidents_at
from foreshock_dashboard.cli.options import GroupedCommand
from foreshock_dashboard.cli.source import AnswerError, Source, reads
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.atomic_files import new_file
from foreshock_dashboard.recording.meta import TRUTH, RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.incident_timeline import feedback_text


@click.command(cls=GroupedCommand)
@click.argument("recording", type=click.Path(path_type=Path))
@reads("hub URL", no_recording="is read-only")
@click.option(
    "--incident", "wanted", metavar="INCIDENT", help="ID or unique ID prefix (default: the only incident with feedback)"
)
def label(source: Source, recording: Path, wanted: str | None) -> None:
    """Add incident feedback to a recording as ground truth for evaluation.

    Only the most recent feedback counts. RECORDING must cover the time of the incident.

    \b
    Examples:
      foreshock incident feedback latest wrong-cause --service ml/batch-embed --cause gpu_contention
      foreshock recording create --from http://prometheus:9090 --start now-2h --output-dir incident
      foreshock recording label incident
    """
    with closing(Recording(recording)) as opened:
        start, end = opened.meta.start, opened.meta.end
    if start is None or end is None:
        raise RecordingError(f"recording {recording}: contains neither samples nor spans")
    rows = incidents_at(source, f"{end:.3f}")["incidents"]
    known = [row for row in rows if row["response"]["feedback"] and row["id"].startswith(wanted or "")]
    if len(known) != 1:
        found = f"{len(known)} incidents" if known else "no matching incident"
        ids = (
            f": {', '.join(row['id'] for row in known)}. Choose one with --incident"
            if known
            else ". Give feedback first"
        )
        raise AnswerError(f"{source.name}: {found} with feedback at the end of {recording}{ids}.")
    truth = ground_truth(known[0], start, end)
    with new_file(recording / TRUTH) as file:
        file.write(orjson.dumps(truth, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
    said = known[0]["response"]["feedback"][-1]
    text = feedback_text(said["verdict"], said["cause"], said["service"], said["text"])
    click.echo(f"{recording / TRUTH}: {known[0]['id']}, {text}")


def ground_truth(incident: Json, start: float, end: float) -> Json:
    """The ground truth of a recording by the last feedback on an incident (docs/reference/recordings.md).

    Its times are those of the incident: nothing else measures when users noticed.

    Raises:
        AnswerError: the feedback says that the cause was wrong, but names no service, or that it was correct where the
            incident states none.
    """
    said, suspect = incident["response"]["feedback"][-1], incident["suspect"]
    is_useful, is_right = said["verdict"] != "not_useful", said["verdict"] == "correct"
    if is_right and incident["cause"] is None:
        raise AnswerError(
            f"{incident['id']}: the feedback says `correct`, but the incident states no cause (low confidence). Give "
            "the cause: `foreshock incident feedback ID wrong-cause --service NAME --cause CAUSE`."
        )
    if is_right:
        root_cause, cause = suspect["service"] or suspect["edge"] or incident["service"], incident["cause"]
    else:
        root_cause, cause = said["service"], said["cause"]
    if is_useful and not root_cause:
        raise AnswerError(f"{incident['id']}: the feedback does not name the actual cause. Add it with --service.")
    noticed = incident["paged"] or incident["opened"]
    affected = incident["affected"] or [incident["service"]]
    victims = [name for name in affected if name != root_cause] or affected
    return {
        "scenario": incident["id"],
        "kind": cause or "unknown",
        "topology": "own",
        "seed": 0,
        "strength": 0,
        "split": "heldout",
        "start": start,
        "end": end,
        "onset": incident["since"],
        "fault_end": incident["resolved"] or end,
        "develops_seconds": 0.0,
        "root_cause": root_cause if is_useful else None,
        "also_right": [],
        "cause": cause if is_useful else None,
        "origin": root_cause if is_useful and " -> " not in root_cause else None,
        "pool": suspect["pool"] or "",
        "victims": victims if is_useful else [],
        "breached": {name.rpartition("/")[2]: noticed for name in victims} if is_useful else {},
        "asked": incident["service"],
        "noticed": noticed if is_useful else None,
        "lookalike": not is_useful,
        "faults": [],
    }
