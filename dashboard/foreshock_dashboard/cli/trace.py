"""`foreshock trace show`: one trace of a hub or of a recording."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import show as show_rows
from foreshock_dashboard.cli.source import Source, reads
from foreshock_dashboard.render.trace_text import trace_text
from foreshock_dashboard.settings.settings import SettingsError
from foreshock_dashboard.web.pages.traces.parameters import trace_id_of
from foreshock_dashboard.web.state.parameters import BadParameterError

FIELDS = (
    *("span_id", "parent_id", "service", "name", "kind", "status", "offset_seconds", "duration_seconds"),
    *("start_time_unix_nano", "end_time_unix_nano"),
)


@click.command(cls=GroupedCommand)
@click.argument("trace_id")
@reads("hub URL or recording folder", has_cluster=False)
@output_option("table", "json", "yaml", "csv")
def show(source: Source, trace_id: str, form: str) -> None:
    """Show a trace as a tree of spans, and what was running on its GPUs.

    TRACE_ID is up to 32 hexadecimal digits. CSV output contains only the spans.

    \b
    Examples:
      foreshock trace show 4bf92f3577b34da6a3ce929d0e0e4736
      foreshock trace show 4bf92f3577b34da6a3ce929d0e0e4736 --from incident -o json
    """
    try:
        wanted = trace_id_of(trace_id)
    except BadParameterError as error:
        raise SettingsError(str(error)) from None
    answer = source.get(f"/api/traces/{wanted}", "spans", "lanes", "sentence")
    if form == "table":
        click.echo(trace_text(answer), nl=False)
    else:
        show_rows(form, answer, answer["spans"], (), FIELDS, "")
