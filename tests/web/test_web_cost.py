"""Cost in the API and on its page: who holds GPU time, what it costs, and what can be saved."""

from __future__ import annotations

import csv
import io

import pytest
from tests.web.conftest import client
from tests.web.costs import CHAT, LEDGER, PRICES
from tests.web.worlds import NOW, SCENES, FakeHub

from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import NO_PRICES, Price, Prices
from foreshock_dashboard.model.service import Ownership
from foreshock_dashboard.model.types import Json


def hub(ledger: CostLedger = LEDGER, prices: Prices = PRICES) -> FakeHub:
    """Two services, a free GPU, and one of unknown use, for two days."""
    return FakeHub(SCENES["healthy"](), cost=ledger, prices=prices, owners={CHAT: Ownership("team-chat")})


def get(path: str = "/api/cost", of: FakeHub | None = None) -> Json:
    """An answer."""
    body: Json = client(of or hub()).get(path).json()
    return body


def test_rows_are_by_service_and_pool_and_sum_to_the_total() -> None:
    """Unallocated GPUs and those of unknown use are lines of their own; unknown is null."""
    body = get()
    rows = {(row["name"] or row["holding"], row["pool"]): row for row in body["rows"]}

    assert {key: (row["gpu_hours"], row["busy_gpu_hours"], row["idle_gpu_hours"]) for key, row in rows.items()} == {
        ("ml/chat", "chat"): (24, 12, 9.6),
        ("ml/notebook", "dev"): (24, 0, 24),
        ("unallocated", "spare"): (24, None, 0),
        ("unknown", "spare"): (24, None, None),
    }
    assert sum(row["gpu_hours"] for row in body["rows"]) == body["total"]["gpu_hours"] == 96
    assert [rows[key]["owner"] for key in (("ml/chat", "chat"), ("ml/notebook", "dev"))] == ["team-chat", ""]
    assert (body["total"]["cost"], rows["ml/notebook", "dev"]["idle_cost"], body["hours"]) == (192, 48, 24)


def test_the_answer_says_what_is_idle_and_what_to_do() -> None:
    """In sentences, with the command."""
    body = get()

    assert body["summary"] == "Up to USD 48.00 per day can be saved (25% of GPU cost)."
    assert body["split"] == "96 GPU-hours in 1 d: 12% busy, 2.5% waiting, 35% idle, 25% unallocated, 25% unknown."
    assert [(item["text"], item["action"], item["command"]) for item in body["savings"]] == [
        (
            "ml/notebook has 1 idle GPU: no kernel for 2 d.",
            "Scale it to 0 replicas until it is needed.",
            "kubectl -n ml get deployment/notebook && kubectl -n ml scale deployment/notebook --replicas=0",
        ),
    ]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("namespace", {"ml": 48.0, "unallocated": 24.0, "unknown": 24.0}),
        ("owner", {"team-chat": 24.0, "service": 24.0, "unallocated": 24.0, "unknown": 24.0}),
        ("pool", {"chat": 24.0, "dev": 24.0, "spare": 48.0}),
    ],
)
def test_rows_can_be_grouped(by: str, names: dict[str, float]) -> None:
    """The sum stays."""
    rows = get(f"/api/cost?by={by}")["rows"]
    assert {row["name"] or row["holding"]: row["gpu_hours"] for row in rows} == names


def test_longer_and_earlier_time_ranges() -> None:
    """As far as there are accounts."""
    assert get("/api/cost?range=7d")["hours"] == 48
    assert get(f"/api/cost?range=6h&at={NOW - 86_400:.0f}")["end"] == NOW - 86_400


@pytest.mark.parametrize(
    ("query", "problem"),
    [("range=5m", "range='5m'"), ("range=90d", "1h to 30d"), ("by=color", "by='color'"), ("range=x", "range='x'")],
)
def test_other_parameters_are_refused(query: str, problem: str) -> None:
    """With the remedy."""
    answer = client(hub()).get(f"/api/cost?{query}")
    assert answer.status_code == 400
    assert problem in answer.json()["error"]


@pytest.mark.parametrize(
    ("ledger", "reason"),
    [
        (CostLedger(), "No cost yet: GPU time is being read."),
        (CostLedger(error="the source cannot be reached"), "No cost: the source cannot be reached"),
        (CostLedger(NOW, NOW), "No GPUs in this time range. Scrape foreshock-exporter on GPU hosts."),
    ],
)
def test_without_accounts_the_answer_says_why(ledger: CostLedger, reason: str) -> None:
    """No zero in place of unknown."""
    body, page = get(of=hub(ledger)), get("/api/pages/cost", hub(ledger))

    assert (body["reason"], body["rows"], body["total"]) == (reason, [], None)
    assert (page["ready"], page["reason"]) == (True, reason)


def test_without_prices_there_is_no_money() -> None:
    """GPU-hours remain; missing prices are named."""
    unpriced, other = get(of=hub(prices=NO_PRICES)), get(of=hub(prices=Prices("EUR", {"A100": Price(1.0)})))

    assert unpriced["summary"] == "Up to 24 GPU-hours per day can be saved (25% of all)."
    assert unpriced["total"]["cost"] is None
    assert unpriced["notes"] == ["No prices: set --prices to see money."]
    assert other["notes"] == ["No price of GPUs: NVIDIA H100 80GB HBM3. Add them to the file of --prices."]


def test_the_page_and_csv_have_the_same_figures() -> None:
    """One source of values."""
    body, page = get(), get("/api/pages/cost")
    rows = list(csv.DictReader(io.StringIO(client(hub()).get("/api/csv/cost").text)))

    assert (page["rows"], page["savings"], page["total"]) == (body["rows"], body["savings"], body["total"])
    assert page["unallocated"]["gpu_hours"] == 24
    assert [float(row["gpu_hours"]) for row in rows] == [row["gpu_hours"] for row in body["rows"]]
