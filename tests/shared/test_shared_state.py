"""What hubs share in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
from tests.conftest import Eventually
from tests.notify.slow_burns import CHANNEL, HOURS, at, burn
from tests.shared.conftest import LOGIN_USER, Postgres

from foreshock_dashboard.hub.notifications import is_message_of
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.journal import Entry
from foreshock_dashboard.notify.message import MessageBody
from foreshock_dashboard.notify.shortages import Reader
from foreshock_dashboard.notify.slow_burn_groups import PREFIX, GroupBody
from foreshock_dashboard.notify.slow_burn_news import Announced
from foreshock_dashboard.notify.slow_burns import due_messages
from foreshock_dashboard.response.entries import acknowledge, end_silence, silence
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.shared.database import SharedDatabase, lock_appends, prepare
from foreshock_dashboard.shared.journal import SharedJournal, first_rows
from foreshock_dashboard.shared.outbox import SharedMessages
from foreshock_dashboard.sources.shard import Shard
from foreshock_dashboard.store import Journal, StoreError
from foreshock_dashboard.store.journal import JournalLimits
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage

NOW = 1_800_000_000.0
PAGE = OutboxMessage("slack", "i1", "page", 1.0, "{}")
Connect = Callable[[], SharedDatabase]


def own() -> Journal:
    """A hub's own journal, in memory."""
    return Journal(None, now=lambda: NOW)


def test_an_acknowledgment_on_one_hub_is_on_the_other(connect: Connect, eventually: Eventually) -> None:
    """As soon as it has looked again."""
    first, second = (SharedJournal(connect(), own()) for _ in range(2))
    reader = ResponseReader(second)
    assert reader.current().of("i1").acknowledged is None
    first.append("incident", NOW, "ada", acknowledge("i1"))
    eventually(lambda: reader.current().of("i1").acknowledged == ("ada", NOW), "the acknowledgment")


def test_entries_have_one_order_and_none_is_missed_by_who_reads_what_is_new(connect: Connect) -> None:
    """Four hubs append at once; a fifth reads after the newest that it knows, again and again."""
    hubs = [SharedJournal(connect(), own()) for _ in range(4)]
    reader = SharedJournal(connect(), own())

    def append(hub: SharedJournal) -> None:
        for number in range(25):
            hub.append("incident", NOW, "", acknowledge(f"{id(hub)}-{number}"))

    threads = [threading.Thread(target=append, args=(hub,)) for hub in hubs]
    seen: list[Entry] = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen += reader.read(after=seen[-1].seq if seen else 0)
    seen += reader.read(after=seen[-1].seq if seen else 0)
    assert seen == reader.read()
    assert len({entry.data["incident"] for entry in seen}) == 100


def test_hubs_that_start_at_once_create_the_tables_once(url: str) -> None:
    """One that waited for the other to create them sees them, though its session has looked for them before."""

    async def start() -> None:
        first, second = [await asyncpg.connect(url) for _ in range(2)]
        async with first.transaction():
            await lock_appends(first)
            waiting = asyncio.create_task(prepare(second, list))
            while not await first.fetchval("select exists(select from pg_locks where not granted)"):
                await asyncio.sleep(0)
            await prepare(first, list)
        await waiting
        await asyncio.gather(first.close(), second.close())

    asyncio.run(start())


def test_options_stay_with_their_hub(connect: Connect) -> None:
    """Two hubs may have different ones, which would look like a change at each start."""
    first, second = (SharedJournal(connect(), own()) for _ in range(2))
    first.append("options", NOW, "hub", {"slo": "1s"})
    assert [entry.data for entry in first.read("options")] == [{"slo": "1s"}]
    assert second.read("options") == [] == second.read()


def test_the_hub_that_creates_the_tables_copies_its_journal(url: str) -> None:
    """With its numbers, by which a silence is ended; what the second one has does not come between."""
    journal, other = own(), own()
    journal.append("options", NOW, "hub", {})
    number = journal.append("incident", NOW, "ada\0", silence(NOW, NOW + 60, comment="deploy"))
    other.append("incident", NOW, "bob", acknowledge("i2"))
    with (
        closing(SharedDatabase(url, first_rows=lambda: first_rows(journal))) as first,
        closing(SharedDatabase(url, first_rows=lambda: first_rows(other))) as second,
    ):
        shared = SharedJournal(second, other)
        assert [(entry.seq, entry.by) for entry in shared.read()] == [(number, "ada")]
        assert shared.append("incident", NOW + 1, "bob", end_silence(number)) > number
        (ended,) = ResponseReader(shared).current().silences
        assert (ended.comment, ended.end) == ("deploy", NOW + 1)
        assert shared.read() == SharedJournal(first, journal).read()


@pytest.mark.parametrize(
    ("at", "data", "message"),
    [
        (NOW, {"text": "x" * 70_000}, "too large"),
        (float("nan"), {}, "finite time"),
        (NOW, {"text": object()}, "must be JSON"),
    ],
)
def test_an_entry_that_cannot_be_kept_is_refused(
    connect: Connect, at: float, data: dict[str, object], message: str
) -> None:
    """As by a hub's own journal."""
    journal = SharedJournal(connect(), own())
    with pytest.raises(ValueError, match=message):
        journal.append("incident", at, "ada", data)
    assert journal.read() == []


def test_any_text_comes_back(connect: Connect) -> None:
    """Also that which PostgreSQL's texts cannot hold."""
    journal = SharedJournal(connect(), own())
    journal.append("incident", NOW, "ada", {"text": "\0 ' \\ \u20ac \U0001f600"})
    assert journal.read()[0].data == {"text": "\0 ' \\ \u20ac \U0001f600"}
    with pytest.raises(ValueError, match="PostgreSQL cannot hold"):
        journal.append("incident", NOW, "a\0b", {})


def test_the_oldest_entries_of_a_kind_expire(connect: Connect) -> None:
    """The database is bounded."""
    journal = SharedJournal(connect(), own(), JournalLimits(rows=3))
    journal.append("change", NOW, "", {})
    for number in range(5):
        journal.append("incident", NOW, str(number), {})
    assert [(entry.kind, entry.by) for entry in journal.read()] == [("change", ""), *(("incident", by) for by in "234")]
    assert journal.stats().expired == 2


def test_one_hub_leads_and_the_next_one_does_when_it_ends(connect: Connect, eventually: Eventually) -> None:
    """It notifies."""
    first, second = connect(), connect()
    assert (first.leads, second.leads) == (True, False)
    first.close()
    eventually(lambda: second.leads, "the second one leads")


def test_a_hub_that_is_stuck_loses_the_lead(url: str, connect: Connect, eventually: Eventually) -> None:
    """Its host still answers for it; the server ends its session after ten seconds."""
    name = "foreshock_dashboard.shared.database"
    code = f"from {name} import SharedDatabase as D; print(D({url!r}).leads, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stuck:
        assert stuck.stdout
        assert stuck.stdout.readline() == b"True\n"
        other = connect()
        assert not other.leads
        stuck.send_signal(signal.SIGSTOP)
        eventually(lambda: other.leads, "the other one leads")
        stuck.kill()


def test_a_hub_that_cannot_evaluate_leaves_the_lead_to_one_that_can(url: str, eventually: Eventually) -> None:
    """Its messages would be of the past."""
    able = {"first": True, "second": True}
    with (
        closing(SharedDatabase(url, fit=lambda: able["first"])) as first,
        closing(SharedDatabase(url, fit=lambda: able["second"])) as second,
    ):
        assert (first.leads, second.leads) == (True, False)
        able["first"] = False
        eventually(lambda: second.leads and not first.leads, "the second one leads")
        able["second"] = False
        eventually(lambda: first.leads or second.leads, "one leads, though neither can evaluate")


def test_a_session_that_ends_without_an_outage_makes_no_two_leaders(connect: Connect, eventually: Eventually) -> None:
    """As a pooler does."""
    first, second = connect(), connect()
    end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> $1"
    second.run(lambda connection: connection.execute(end, connection.get_server_pid()))
    eventually(lambda: first.leads != second.leads, "one leads")
    assert (first.problem, second.problem) == ("", "")


def test_hubs_of_another_schema_are_others(url: str, connect: Connect) -> None:
    """Two groups of hubs may use one database."""
    own_schema = connect()
    own_schema.run(lambda connection: connection.execute("create schema eu"))
    with closing(SharedDatabase(f"{url}?search_path=eu")) as other:
        assert other.problem == ""
        SharedJournal(other, own()).append("incident", NOW, "ada", acknowledge("i1"))
        assert (own_schema.leads, other.leads) == (True, True)
    assert SharedJournal(own_schema, own()).read() == []


def test_shards_share_what_people_say_while_one_hub_of_each_leads_and_sends(url: str, eventually: Eventually) -> None:
    with ExitStack() as opened:
        hubs = {
            name: opened.enter_context(closing(SharedDatabase(url, part=name.rpartition(" ")[0])))
            for name in ("shard 1/2 a", "shard 1/2 b", "shard 2/2 a")
        }
        eventually(lambda: hubs["shard 1/2 a"].leads != hubs["shard 1/2 b"].leads, "one hub of the first shard leads")
        eventually(lambda: hubs["shard 2/2 a"].leads, "and the only one of the second")
        outboxes = {name: Outbox(SharedMessages(hub, name.rpartition(" ")[0])) for name, hub in hubs.items()}
        outboxes["shard 1/2 a"].put(PAGE)
        outboxes["shard 2/2 a"].put(PAGE._replace(at=2.0, waiting=False))
        for outbox in outboxes.values():
            outbox.read_again()
        sent = {name: outbox.messages(PAGE.channel) for name, outbox in outboxes.items()}
        assert sent == {
            "shard 1/2 a": (PAGE,),
            "shard 1/2 b": (PAGE,),
            "shard 2/2 a": (PAGE._replace(at=2.0, waiting=False),),
        }
        outboxes["shard 2/2 a"].remove([PAGE.key])
        outboxes["shard 1/2 b"].read_again()
        assert outboxes["shard 1/2 b"].messages(PAGE.channel) == (PAGE,)
        SharedJournal(hubs["shard 1/2 a"], own()).append("incident", NOW, "ada", acknowledge("i1"))
        assert len(SharedJournal(hubs["shard 2/2 a"], own()).read()) == 1


def message(cluster: str, at: float = 1.0, **fields: Any) -> OutboxMessage:  # noqa: ANN401 - of OutboxMessage
    """A message about an incident in a cluster."""
    body = MessageBody(service=f"{cluster}//shop/chat", severity="critical", cause="", title="", text="", key="")
    return OutboxMessage("slack", f"incident of {cluster}", "page", at, body.model_dump_json())._replace(**fields)


FULL_DISK = Announced(SlowBurnKind.HOST_DISK, None, "eu//host-3: /data", 2.0, 2.0, None)


@pytest.mark.parametrize(
    "before", ["", "shard 1/3", "shard 2/2"], ids=["one hub", "other shards", "another assignment"]
)
def test_messages_of_a_cluster_are_those_of_its_shard_after_it_has_moved(connect: Connect, before: str) -> None:
    """They are not sent again, and can be ended. Those of other clusters and unreadable ones stay where they are."""
    database, of = connect(), {number: Shard(number, 2, (("eu", 1), ("us", 2))) for number in (1, 2)}
    burns = GroupBody(service="", severity="warning", cause="", title="", text="", key="", members=(FULL_DISK,))
    burning = message("eu", 3.0, subject=f"{PREFIX}host eu//host-3", body=burns.model_dump_json())
    sent = (message("eu", 2.0, waiting=False), burning, message("us", 4.0), message("", 5.0, body="?"))
    SharedMessages(database, before).write({item.key: item for item in sent})

    def outbox(number: int) -> Outbox:
        return Outbox(SharedMessages(database, f"shard {of[number]}", lambda item: is_message_of(of[number], item)))

    for _ in range(2):
        assert outbox(1).messages("slack") == sent[:2]
    assert SharedMessages(database, before).read() == list(sent[2:])
    newer = sent[0]._replace(event="resolved", at=6.0)
    outbox(1).put(newer)
    SharedMessages(database, "shard 4/4").write({sent[0].key: sent[0]})
    for _ in range(2):
        assert outbox(1).messages("slack") == (burning, newer)
    assert SharedMessages(database, "shard 4/4").read() == []


def test_a_later_format_is_refused(url: str, connect: Connect) -> None:
    """An older version would not understand it."""
    connect().run(lambda connection: connection.execute("update foreshock_format set version = 2"))
    with closing(SharedDatabase(url)) as older:
        assert "upgrade the hub" in older.problem


def test_a_hub_sends_what_the_one_before_left_and_nothing_twice(connect: Connect) -> None:
    """The outbox is shared, too."""
    first, second = Outbox(SharedMessages(connect())), Outbox(SharedMessages(connect()))
    sent = PAGE._replace(subject="i2", at=2.0, waiting=False)
    first.put(PAGE, sent)
    assert second.messages("slack") == ()
    second.read_again()
    assert second.messages("slack") == (PAGE, sent)
    second.remove([PAGE.key])
    first.read_again()
    assert [message.subject for message in first.messages("slack")] == ["i2"]


def test_a_slow_burn_that_one_hub_announced_is_ended_by_the_next_one(connect: Connect) -> None:
    """It is not announced again: what was said of it is shared, too."""
    first, second = Outbox(SharedMessages(connect())), Outbox(SharedMessages(connect()))
    reader = Reader(HOURS, "http://hub", lambda _: "")
    full, gone = (
        CapacityForecast(0.0, slow_burns=burns, measured=frozenset([burn("7 10:00").key]))
        for burns in ((burn("7 10:00"),), ())
    )
    first.put(*(item._replace(waiting=False) for item in due_messages(CHANNEL, first, full, at("5 14:00"), reader)))
    second.read_again()
    assert list(due_messages(CHANNEL, second, full, at("5 15:00"), reader)) == []
    second.put(*due_messages(CHANNEL, second, gone, at("5 16:00"), reader))
    first.read_again()
    (end,) = due_messages(CHANNEL, first, gone, at("6 09:00"), reader)
    assert (end.event, end.waiting) == ("resolved", True)


def test_what_was_sent_without_the_database_is_not_undone_by_what_is_in_it(connect: Connect) -> None:
    """A page would be sent again; what another hub sent later wins."""
    database = connect()
    first, second = Outbox(SharedMessages(database)), Outbox(SharedMessages(connect()))
    first.put(PAGE._replace(event="early_warning"), PAGE._replace(subject="i2"))
    second.read_again()
    with patch.object(SharedMessages, "write", side_effect=StoreError("away")):
        second.put(PAGE._replace(at=2.0), PAGE._replace(subject="i2", at=2.0))
    first.put(PAGE._replace(subject="i2", event="resolved", at=3.0))
    second.read_again()
    assert {(item.subject, item.event) for item in second.messages("slack")} == {("i1", "page"), ("i2", "resolved")}
    first.read_again()
    assert first.messages("slack") == second.messages("slack")
    assert not second.error


def test_while_the_database_is_away_each_hub_notifies_and_what_is_known_stays(
    postgres: Postgres, connect: Connect, eventually: Eventually
) -> None:
    """A page that is sent twice is better than none. Afterwards one hub leads again, and nothing is lost."""
    databases = [connect(), connect()]
    journals = [SharedJournal(database, own()) for database in databases]
    reader = ResponseReader(journals[1])
    journals[1].append("incident", NOW, "ada", acknowledge("i1"))
    assert reader.current().of("i1").acknowledged
    outbox = Outbox(SharedMessages(databases[0]))
    postgres.end(signal.SIGQUIT)
    eventually(lambda: all(database.problem for database in databases), "both notice")
    assert all(database.leads for database in databases)
    with pytest.raises(StoreError, match=r"PostgreSQL at postgresql://127\.0\.0\.1:\d+/hubs\d+: .*--postgres-url"):
        journals[0].append("incident", NOW, "ada", acknowledge("i2"))
    assert reader.current().of("i1").acknowledged
    assert "was not kept" in journals[0].stats().last_error
    outbox.put(PAGE)
    assert outbox.error
    assert outbox.messages("slack") == (PAGE,)
    postgres.start()
    eventually(lambda: not any(database.problem for database in databases), "both are connected again")
    assert sorted(database.leads for database in databases) == [False, True]
    journals[0].append("incident", NOW, "ada", acknowledge("i2"))
    assert [entry.data["incident"] for entry in journals[1].read()] == ["i1", "i2"]
    outbox.read_again()
    assert not outbox.error
    outbox.put(PAGE._replace(subject="i2"))
    assert len(SharedMessages(databases[1]).read()) == 2


def test_a_hub_starts_without_the_database() -> None:
    """It monitors, and says what is missing."""
    with closing(SharedDatabase("postgresql://foreshock@127.0.0.1:1/hubs?passfile=none")) as database:
        assert "127.0.0.1:1/hubs: Connection refused. Check --postgres-url" in database.problem
        assert "passfile" not in database.problem
        assert database.leads
        journal = SharedJournal(database, own())
        assert journal.newest == 0
        assert Outbox(SharedMessages(database)).error
        with pytest.raises(StoreError):
            journal.read()


def test_the_password_of_the_file_is_used_and_read_again(
    url: str, connect: Connect, tmp_path: Path, eventually: Eventually
) -> None:
    """It changes while the hub runs."""
    role = f"create role {LOGIN_USER} login password 'new' in role foreshock"
    connect().run(lambda connection: connection.execute(role))
    file = tmp_path / "password"
    file.write_text("old\n")
    with closing(SharedDatabase(url.replace("foreshock@", f"{LOGIN_USER}@"), file)) as hub:
        assert f'password authentication failed for user "{LOGIN_USER}"' in hub.problem
        file.write_text("new\n")
        eventually(lambda: hub.problem == "", "it is connected")
