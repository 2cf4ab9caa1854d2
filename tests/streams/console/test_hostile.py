"""Does the console stand what hostile readers, models and addresses do to it?"""

import asyncio
import math
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import uuid4

import pytest

from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.prompts import Prompt, PromptUse
from schemas.events.tracing import SpanEnded
from schemas.events.webhooks import Webhook
from sinks.clickhouse.sink import ClickHouseSink
from streams.console import charts
from streams.engine import dead_letters
from streams.lab.replay import run_history
from tests.sinks.clickhouse.test_rows import batch_of
from tests.streams.console.test_pages import FORM, got, posted, signed_in

pytestmark = pytest.mark.engine
PERSON = {"accept": "text/html,application/xhtml+xml"}
ODD = ("a'b\"c\nline\ttab\\/?c#d&tenant=x%{tenant:String}'; DROP TABLE runs --\x00", "é" * 2_000)


@pytest.mark.parametrize("hours", ["0", "-1", "²", "9" * 5_000, "nan", "8785", "٣"])
def test_no_time_breaks_a_page(console, hours):
    assert got(console, f"/console/runs?hours={quote(hours)}").status_code == 200


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "path",
    [
        "session?session={}",
        "runs?words={}",
        "sessions?tenant={}",
        "dead-letters?said={}",
        "export/session.csv?session={}",
        "runs?user={}",
        "runs?before={}",
        "runs?before=2026-05-04&below={}",
        "export/spans.csv?trace={}",
    ],
)
def test_no_text_in_an_address_breaks_a_page(console, path, odd):
    page = got(console, "/console/" + path.format(quote(odd, safe="")))
    assert page.status_code == 200, page.text
    assert "clickhouse" not in page.text.lower() or "from ClickHouse" in page.text


@pytest.mark.parametrize("odd", [*ODD, "..%2f..%2fruns", "0" * 32, "<script>alert(1)</script>"])
def test_a_trace_that_is_none_is_told(console, odd):
    page = got(console, f"/console/traces/{quote(odd, safe='')}", headers=PERSON)
    assert page.status_code == 404 and "<script>alert" not in page.text


def test_a_trace_of_hostile_spans_is_shown_as_text(console, write):
    trace = uuid4().hex
    evil = '"><script>alert(1)</script>\u202e\x00'
    write(
        run=uuid4(),
        trace=trace,
        name=evil,
        span="a" * 16,
        parent="b" * 16,
        operation="execute_tool",
        error_type=evil,
    )
    write(
        run=uuid4(),
        trace=trace,
        name=evil,
        span="b" * 16,
        parent="a" * 16,
        operation='x" onload="alert(1)',
    )
    page = got(console, f"/console/traces/{trace}").text
    assert (
        page.count('<svg viewBox="0 0 1000 10"') == 2
        and "<script>alert" not in page
        and ' onload="' not in page
    )
    assert "\u202e" not in page and "[U+202E]" in page


def test_many_words_are_looked_for(console):
    assert (
        got(console, "/console/runs?words=" + "+".join(f"w{nth}" for nth in range(200))).status_code
        == 200
    )


@pytest.mark.parametrize(
    "address",
    [
        "export/run.csv",
        "export/run.csv?run=x",
        "export/spans.csv",
        "export/family.csv",
        "export/family.csv?run=1&parent=2",
        "export/verdicts_of_run.parquet",
        "export/session.parquet",
    ],
)
def test_an_export_without_what_it_needs_is_empty_or_told(console, address):
    assert got(console, f"/console/{address}").status_code in (200, 422)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("runs/xyz", 422),
        ("runs/00000000-0000-0000-0000-000000000001", 404),
        ("cost?by=nobody", 422),
        ("nowhere", 404),
        ("session", 422),
        ("export/secrets.csv", 404),
    ],
)
def test_a_person_gets_an_error_as_a_page_and_a_program_as_a_problem(console, path, status):
    page = got(console, f"/console/{path}", headers=PERSON)
    assert (
        page.status_code == status
        and page.text.startswith("<!doctype html>")
        and 'href="/console"' in page.text
    )
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert got(console, f"/console/{path}").headers["content-type"] == "application/problem+json"


def test_an_error_page_escapes(console):
    page = got(console, "/console/runs/%3Cscript%3Ealert(1)%3C/script%3E", headers=PERSON)
    assert page.status_code in (404, 422) and "<script>alert" not in page.text


def test_another_tenants_definitions_are_not_shown(console):
    signed_in(console, "read", tenant="other")
    console.link.definitions = Definitions.of(
        *console.link.definitions.bodies.values(),
        Prompt(name="hidden", task="SECRET WORDS"),
        Agent(name="theirs", prompt=PromptUse(use="hidden"), model="small", tenants=("fernweh",)),
        Webhook(
            name="hook", url="https://fernweh.example/in", secret="env:HOOK", tenants=("fernweh",)
        ),
    )
    text = got(console, "/console/definitions").text
    assert (
        "theirs" not in text
        and "SECRET WORDS" not in text
        and "fernweh.example" not in text
        and "small@1" in text
    )
    console.cookies.clear()
    assert "SECRET WORDS" in got(console, "/console/definitions").text


def test_counts_of_all_tenants_are_for_who_administers(console):
    signed_in(console, "read")
    text = got(console, "/console").text
    assert "Completeness" not in text and "data-live" not in text and "How far behind" not in text
    assert "Records a minute" not in got(console, "/console/topology").text
    assert got(console, "/console/export/rates.csv").status_code == 403
    assert got(console, "/console/live").json() == {"figures": []}
    console.cookies.clear()
    signed_in(console, "admin")
    assert (
        "Completeness" in got(console, "/console").text
        and got(console, "/console/export/rates.csv").status_code == 200
    )


def test_another_tenants_trace_is_not_shown(console):
    run = console.runs[0]
    trace = asyncio.run(_trace(console, run.run))
    signed_in(console, "read", tenant="other")
    assert got(console, f"/console/export/spans.csv?trace={trace}").text.count("\n") <= 1
    assert got(console, f"/console/export/verdicts_of_run.csv?run={run.run}").text.count("\n") <= 1
    assert got(console, f"/console/session?session={run.session}").text.count("/console/runs/") == 0


async def _trace(console, run):
    text = (await console.get(f"/console/runs/{run}")).text
    return text.split("trace=")[1].split('"')[0].split("&")[0]


def test_no_other_site_can_lead_its_name_here(console):
    for path in ("/console", "/console/export/runs.csv", "/v1/approvals"):
        page = got(console, path, headers={"host": "evil.example", "weir-tenant": "fernweh"})
        assert page.status_code == 403 and "localhost" in page.text
    assert (
        posted(
            console,
            "/console/dead-letters",
            "",
            FORM | {"host": "evil.example", "origin": "http://evil.example"},
        ).status_code
        == 403
    )


@pytest.mark.parametrize(
    "path",
    [
        "sign-in",
        "dead-letters",
        "approvals/7f3c1d2e-0000-5000-8000-000000000001",
        "runs/7f3c1d2e-0000-5000-8000-000000000001/fork",
    ],
)
@pytest.mark.parametrize("origin", ["http://evil.test", "null", ""])
def test_no_form_of_another_site_is_taken(console, path, origin):
    assert (
        posted(console, f"/console/{path}", "key=x", FORM | {"origin": origin}).status_code == 403
    )


@pytest.mark.parametrize(
    "key", ["", "x", "weir_a_b", "weir_k_é%0d%0aset-cookie: a=b" + "0" * 40, "\x00", "é;,"]
)
def test_what_is_no_key_sets_no_cookie(console, key):
    answer = posted(console, "/console/sign-in", f"key={quote(key)}")
    assert answer.status_code == 401 and "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "form",
    [
        "max_cost=NaN",
        "max_cost=1e9",
        "max_cost=-1",
        "max_cost=Infinity",
        "step=x",
        "step=" + "9" * 5_000,
    ],
)
def test_a_fork_of_nonsense_is_refused(console, form):
    assert posted(console, f"/console/runs/{console.runs[0].run}/fork", form).status_code == 422


@pytest.mark.parametrize(
    "form",
    [
        "",
        "by=&decision=approve",
        "by=k&decision=maybe",
        "by=k&decision=approve&tenant=a/b",
        "by=%00&decision=x",
    ],
)
def test_a_word_that_is_none_is_refused(console, form):
    path = "/console/approvals/7f3c1d2e-0000-5000-8000-000000000001"
    assert posted(console, path, form).status_code == 422 and console.link.published == []


def test_the_live_views_may_be_away(console):
    assert got(console, "/console/live").status_code in (200, 503)


@pytest.mark.parametrize("values", [[math.nan], [math.inf, 1], [-5, -1], [0, 0], [1e300], [1e-300]])
@pytest.mark.parametrize("stacked", [True, False])
def test_no_figure_breaks_a_chart(values, stacked):
    at = datetime(2026, 5, 4, tzinfo=UTC)
    text = charts.svg(
        charts.Chart("x", [(at, '"><script>', value) for value in values], stacked=stacked)
    )
    assert "nan" not in text and "<script>" not in text and "inf" not in text


def test_words_in_an_export_link_stay_one_parameter(console):
    assert "&amp;words=a%26tenant%3Db" in got(
        console, "/console/runs?words=" + quote("a&tenant=b") + "&agent="
    ).text or (got(console, "/console/runs?agent=support").text.count("agent=support") >= 2)


@pytest.mark.parametrize("path", ["dead-letters", "runs/{run}/fork"])
def test_without_kafka_a_form_is_told_to_come_again(console, monkeypatch, path):
    def away(*_):
        raise ConnectionError("away")

    monkeypatch.setattr(dead_letters, "read_all", away)
    monkeypatch.setattr(run_history, "of_session", away)
    page = posted(console, "/console/" + path.format(run=console.runs[0].run), "", FORM | PERSON)
    assert (
        page.status_code == 503
        and "Kafka does not answer" in page.text
        and page.headers["retry-after"] == "2"
    )


@pytest.fixture
def write(landed, clickhouse_url):
    """Lands spans like those that are there, with other values."""

    def spans(**more):
        one = next(span for span in landed[1][SpanEnded] if span.operation == "chat")
        made = one.model_copy(update={"id": uuid4(), **more})
        sink = ClickHouseSink(clickhouse_url, landed[0])
        sink.write(sink.prepare(batch_of(made)), str(made.id))

    return spans


def test_a_run_under_way_shows_its_steps_so_far_and_only_to_its_tenant(console, write):
    run = uuid4()
    write(
        run=run,
        trace=run.hex,
        name="chat <img src=x>",
        output="<script>alert(1)</script>" * 10_000,
        error_type="'\"><b>",
    )
    page = got(console, f"/console/runs/{run}")
    assert (
        page.status_code == 200
        and "has not ended yet" in page.text
        and "chat &lt;img src=x&gt;" in page.text
    )
    assert "<script>alert" not in page.text and "<b>" not in page.text and len(page.text) < 50_000
    assert f"/console/runs/{run}" in got(console, "/console/runs").text.split("<h2>Runs")[0], (
        "it stands under way"
    )
    signed_in(console, "read", tenant="other")
    assert got(console, f"/console/runs/{run}").status_code == 404
    assert got(console, f"/console/traces/{run.hex}").status_code == 404
    assert str(run) not in got(console, "/console/runs").text


def test_spans_of_another_tenant_that_name_a_run_change_nothing_of_its_page(console, write):
    run = console.runs[0].run
    before = got(console, f"/console/runs/{run}").text
    trace = asyncio.run(_trace(console, run))
    write(run=run, trace="e" * 32, tenant="evil", name="chat of evil")
    write(run=uuid4(), trace=trace, tenant="evil", name="chat of evil")
    assert got(console, f"/console/runs/{run}").text == before
