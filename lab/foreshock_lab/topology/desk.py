"""A help desk whose agents get suggestions from a model: other names, deeper chains, and a service that all share."""

from __future__ import annotations

import random
from collections.abc import Mapping

from foreshock_lab.topology.draft import AI_NAMES, COMPLETIONS, USER_RATES, Draft
from foreshock_lab.topology.model import Cache, Compute, Entry, Operation, Query, Sleep, Step, Topology

NAMES: Mapping[str, tuple[str, ...]] = {
    "front": ("helpdesk", "console", "workspace"),
    "api": ("gateway-api", "graphql", "backend"),
    "tickets": ("tickets", "cases", "issues"),
    "customers": ("customers", "accounts", "profiles"),
    "files": ("files", "attachments"),
    "triage": ("triage", "classifier", "routing"),
    "notify": ("notify", "mailer", "webhooks"),
    "audit": ("audit", "events"),
    **AI_NAMES,
}
OPTIONS = ("api", "files", "audit", "customer cache", "list cache", "parallel", "guard first", "answer cache")
TICKET = "select id, subject, state from tickets where id = $1"
OVERVIEW = "select id, subject, state from tickets where agent = mod($1, 40) order by id limit 20"
NEW_TICKET = "insert into messages (ticket, created) values ($1, now())"
CLOSE = "update tickets set state = 'answered' where id = $1"
CUSTOMER = "select id, name, plan from customers where id = $1"
EVENT = "insert into events (ticket, created) values ($1, now())"


def draw_desk(seed: int, rng: random.Random) -> Topology:
    """The help desk of a seed."""
    draft = Draft(rng, NAMES, OPTIONS)
    has, call, group, service = draft.has, draft.call, draft.group, draft.service

    def cached(option: str, prefix: str, *steps: Step) -> tuple[Step, ...]:
        return (Cache(prefix, 45.0, steps),) if has(option) else steps

    customer = call("customers", "customer")
    files = (call("files", "list", 0.6, required=False),) if has("files") else ()
    event = (call("audit", "event", required=False),) if has("audit") else ()
    services = [
        *draft.front(
            Operation("overview", (call("tickets", "overview"),)),
            Operation("open", group(call("tickets", "ticket"), customer, *files)),
            Operation("reply", (call("tickets", "reply"), *event)),
            Operation("new", (call("triage", "sort"), call("tickets", "create"), *event)),
            Operation("suggest", (call("gateway", "chat"),)),
        ),
        service(
            "tickets",
            Operation("overview", (*cached("list cache", "overview", Query(OVERVIEW)), customer)),
            Operation("ticket", (Query(TICKET),)),
            Operation("reply", (Query(CLOSE), call("notify", "send"))),
            Operation("create", (Query(NEW_TICKET), call("notify", "send", 0.5, required=False))),
            replicas=rng.choice((1, 2)),
            retries=rng.choice((0, 1)),
        ),
        service("customers", Operation("customer", cached("customer cache", "customer", Query(CUSTOMER)))),
        service("triage", Operation("sort", (Compute(0.001), customer, call("guard", COMPLETIONS))), retries=1),
        service("notify", Operation("send", (Compute(0.001), Sleep(rng.choice((0.02, 0.05))))), workers=8),
        service("files", Operation("list", (Cache("files", 60.0, (Sleep(0.012),)),))),
        service("audit", Operation("event", (Query(EVENT),))),
        *draft.ai_path(customer),
    ]
    missing = {role for role in ("files", "audit") if not has(role)}
    present = tuple(item for item in services if item.role not in missing)
    entries = (
        *(Entry("overview", 0.26), Entry("open", 0.24), Entry("reply", 0.2)),
        *(Entry("new", 0.1), Entry("suggest", 0.2)),
    )
    return Topology(f"desk-{seed}", seed, present, entries, rate=rng.uniform(*USER_RATES))
