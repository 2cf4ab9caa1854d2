"""Commands against a whole stack, called as a user calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from sinks.clickhouse.queries.catalogue import QUERIES
from streams.operations.connections import rows_of
from tests.support.conversations import CONVERSATIONS, line
from tests.support.waiting import until

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]


@pytest.fixture
def weir(stack, world):
    """Runs a command; its last line of stdout as JSON where `--json` is among the arguments."""

    def run(*arguments: str, code: int = 0):
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli.main", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=150,
            env=os.environ | stack.environment(),
            check=False,
        )
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
        return (
            json.loads(done.stdout.splitlines()[-1])
            if "--json" in arguments
            else done.stdout + done.stderr
        )

    return run


def test_a_recording_comes_out_equal_and_lands(weir, tmp_path):
    file = tmp_path / "talks.jsonl"
    file.write_text("\n".join(line(talk) for talk in CONVERSATIONS * 3))
    counts = {"conversations": 9, "model_calls": 24, "tool_calls": 12, "runs": 15}
    assert weir("replay", str(file), "--json") == counts | {"equal": 9, "landed": counts}


def test_the_shared_recording_comes_out_equal(weir, shared_data):
    found = weir("replay", str(shared_data / "tools" / "tau_airline_trajectories.jsonl"), "--json")
    counts = {"conversations": 100, "model_calls": 1124, "tool_calls": 586, "runs": 574}
    assert found == counts | {"equal": 100, "landed": counts}


def test_arrivals_land_to_the_token(weir, tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "replay_ms,input_tokens,output_tokens\n"
        + "".join(f"{n * 30},{n * 7 + 1},{n}\n" for n in range(60))
    )
    found = weir("load", "--trace", str(trace), "--speed", "2", "--json")
    sums = {
        "requests": 60,
        "input_tokens": sum(n * 7 + 1 for n in range(60)),
        "output_tokens": sum(range(60)),
    }
    assert {name: found[name] for name in sums} == sums == found["landed"]
    assert 0 < found["queryable_p50_s"] <= found["queryable_p99_s"]


def test_the_demo_shows_every_outcome(weir):
    found = weir("demo", "--once", "--json")
    assert (found["requests"], found["failed"], found["lost"]) == (20, 0, 0)
    assert found["completed"] >= 12 and found["refused"] >= 2 and found["blocked"] >= 1
    assert (
        found["rows"]["runs"] >= 20
        and found["events"]["ToolReturned"]
        and found["events"]["PassagesFound"]
    )


def test_a_run_is_sent_listed_shown_and_judged(weir):
    sent = weir("send", "acme", "asks-good", "hi", "--json")
    assert sent["outcome"] == "completed"
    listed = weir("runs", "--tenant", "acme", "--limit", "200", "--json")
    assert "asks-good" in {run["agent"] for run in listed}
    run = listed[0]["run"]
    shown = weir("show", run, "--json")
    assert shown["run"]["run"] == run and {span["operation"] for span in shown["spans"]} >= {
        "invoke_agent"
    }
    assert "within a second" in weir("feedback", run, "0.5", "--comment", "good")
    assert "no finished run" in weir("show", str(uuid4()), code=1)


def test_what_was_asked_is_charged_and_all_of_it_balances(weir, stack):
    weir("send", "acme", "asks-good", "hi", "-m", "feature=greeting", "-m", "team=desk", "--json")
    landed = "SELECT count() AS n FROM token_usage WHERE feature = 'greeting'"
    until(
        lambda: rows_of(stack, landed)[0]["n"] > 0,
        20,
        lambda: "the call did not come to the ledger",
    )
    report = weir("cost", "report", "--by", "feature,team", "--json")
    assert {("greeting", "desk")} <= {(row["feature"], row["team"]) for row in report["rows"]}
    assert report["total"]["calls"] == sum(row["calls"] for row in report["rows"])
    assert weir("cost", "forecast", "--json")["rows"]
    found = weir("balance", "--json")
    assert found["balanced"] and found["produced"] > 0
    assert found["produced"] == found["landed"] + found["dead_lettered"] + found["under_way"]
    assert {"stage-tenant", "stage-session", "calls", "sink-clickhouse"} <= {
        one["consumer"] for one in found["delays"]
    }


def test_every_ready_query_runs(weir, stack):
    assert weir("query", "--named", "cost_over_time", "--json")
    for query in QUERIES:
        assert isinstance(rows_of(stack, query.sql, query.parameters), list), query.name


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("query", "SELECT nonsense"), "ClickHouse refused the query"),
        (("query", "--named", "nonsense"), "lists them"),
        (("up",), "is up already"),
        (("schema", "Nothing"), "there is no event"),
        (("dlq", "show", "nowhere"), "no dead letter"),
        (("describe",), "--diagram"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(weir, arguments, says):
    assert says in " ".join(weir(*arguments, code=1).split())


def test_topics_status_and_letters_are_shown(weir):
    assert {row["topic"] for row in weir("topics", "--json")} >= {"weir.agent.agent-requested"}
    services = weir("status", "--json")["services"]
    assert all(one["state"] == "ready" for one in services.values())
    assert isinstance(weir("dlq", "list", "--json"), list)
