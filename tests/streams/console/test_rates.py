"""Are the workers' own numbers added up to rates, and does the page live without them?"""

import asyncio

import pytest

from streams.config import Settings
from streams.console import actions, rates
from streams.console.rates import LiveRates, sums_of

FIRST = """# TYPE weir_events_made_total counter
weir_events_made_total{consumer="stage-session",event="RunFinished"} 10
weir_records_taken_total{consumer="stage-tenant",topic="weir.agent.run-finished"} 4
weir_records_taken_total{consumer="stage-tenant",topic="weir.agent.agent-requested"} 7
"""
SECOND = """weir_events_made_total{consumer="stage-session",event="RunFinished"} 2
weir_records_taken_total{consumer="calls",topic="weir.agent.agent-requested"} 9
weir_behind_records{consumer="calls"} 3
"""


def test_what_is_made_counts_where_it_is_made_and_once():
    assert sums_of([FIRST, SECOND]) == (
        {"RunFinished": 12, "AgentRequested": 9},
        {"calls": 3},
    )
    assert sums_of([]) == ({}, {})


def test_two_looks_make_a_rate_and_many_readers_share_one(monkeypatch, tmp_path):
    clock = [100.0]
    pages = [[FIRST], [FIRST.replace(" 10", " 30")], []]
    monkeypatch.setattr(rates.time, "monotonic", lambda: clock[0])
    look = LiveRates(Settings(home=tmp_path))

    async def next_pages():
        return pages.pop(0)

    monkeypatch.setattr(look, "_pages", next_pages)
    assert asyncio.run(look.current())["rates"] == {}
    clock[0] += 4
    assert asyncio.run(look.current())["rates"] == {"RunFinished": 5.0, "AgentRequested": 0.0}
    clock[0] += 0.5
    assert asyncio.run(look.current())["rates"]["RunFinished"] == 5.0 and len(pages) == 1, (
        "too soon for another look"
    )
    clock[0] += 4
    assert asyncio.run(look.current()) == {"rates": {}, "behind": {}}, "no worker answers"


def test_where_no_stack_runs_nobody_is_asked(tmp_path):
    assert asyncio.run(LiveRates(Settings(home=tmp_path)).current()) == {"rates": {}, "behind": {}}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("runs", 1200, "1,200"),
        ("cost_usd", "0.0075212", "$0.0075"),
        ("wait_p50_ms", 1271.3, "1,271"),
        ("wait_p95_ms", None, "–"),
    ],
)
def test_live_figures_read_well(name, value, shown):
    assert actions.figure(name, value) == shown
