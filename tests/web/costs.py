"""Accounts of two days: a service, an idle notebook, a free GPU, and one of unknown use."""

from __future__ import annotations

from dataclasses import replace

from tests.analysis.cost.usages import holder, usage
from tests.web.worlds import NOW

from foreshock_dashboard.analysis.cost.account import account
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import Price, Prices
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.replay.cost_history import with_gpu_wait

PRICES = Prices("USD", {"H100": Price(2.0)})
CHAT, NOTEBOOK = Service("ml", "chat"), Service("ml", "notebook")
USAGE = replace(
    usage(
        4,
        [holder("chat"), holder("notebook", 1, process=False)],
        [0.5, float("nan")],
        waiting=[0.1, 0],
        utilization=[0.5, 0, 0, 0.8],
        pausable=["notebook"],
    ),
    pool=("chat", "dev", "spare", "spare"),
)
HOUR = with_gpu_wait(account(USAGE), USAGE)
START = NOW - 3600
LEDGER = CostLedger(NOW, START + 3600, {START - i * 3600: HOUR for i in range(48)})
