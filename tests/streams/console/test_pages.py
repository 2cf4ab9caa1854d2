"""Does every page of the console show what is in the tables, escaped, to those who may see it, and
nothing else?
"""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pyarrow.parquet
import pytest
from markupsafe import escape

from schemas.definitions.kinds import Definitions
from schemas.events.agent.approvals import ApprovalDecided
from sinks.clickhouse.connection import append_rows
from streams.config import Settings
from streams.console import charts, export
from streams.console.alarms import completeness
from streams.console.page import all_pages, cell
from streams.console.pages.quality import QUALITY
from streams.console.queries import queries
from streams.engine import definitions_topic
from streams.gateway.auth import new_key

pytestmark = pytest.mark.engine
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FORM = {"origin": "http://localhost:8080", "content-type": "application/x-www-form-urlencoded"}


def got(console, path, **more):
    return asyncio.run(console.get(path, **more))


def posted(console, path, body, headers=FORM):
    return asyncio.run(console.post(path, content=body, headers=headers))


@pytest.mark.parametrize("path", [path for path in (page.path for page in all_pages())])
def test_every_page_answers_and_is_whole(console, path):
    page = got(console, f"/console/{path}".rstrip("/"))
    assert page.status_code == 200, page.text[:500]
    assert page.text.rstrip().endswith("</html>") and 'aria-current="page"' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_the_overview_counts_what_happened(console):
    text = got(console, "/console?hours=24").text
    assert (
        "<span>Runs</span><strong>3</strong>" in text
        and "all calls priced" in text
        and "<svg viewBox" in text
    )


@pytest.mark.parametrize(
    ("rows", "value", "note", "bad"),
    [
        ([], "not counted yet", "once a minute", False),
        ([(5, 0, 0, 0), (7, 0, 0, 2)], "balanced", "of 12 records counted", False),
        ([(5, 1, 0, 0), (7, 0, 2, 0)], "3 wrong", "of 12 records counted", True),
        (
            [(5, 0, 0, 9), (7, 0, 0, 8)],
            "balanced",
            "of 12 records counted, last at 11:52 UTC",
            False,
        ),
    ],
)
def test_the_first_page_says_whether_it_balances_and_since_when_nobody_counts(
    rows, value, note, bad
):
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    tile = completeness(
        [
            {
                "produced": produced,
                "lost": lost,
                "doubled": doubled,
                "last_counted": (noon - timedelta(minutes=ago)).replace(tzinfo=None),
            }
            for produced, lost, doubled, ago in rows
        ],
        noon,
    )
    assert (tile.value, tile.bad) == (value, bad) and tile.note.endswith(note)


def test_a_minute_that_does_not_balance_is_on_the_first_page(console, landed, clickhouse_url):
    now = datetime.now(UTC).replace(second=0, microsecond=0, tzinfo=None)
    append_rows(
        clickhouse_url,
        landed[0],
        "balance",
        ("minute", "topic", "partition", "produced", "landed", "lost", "counted_at"),
        [(now, "weir.a", 3, 5, 4, 1, now)],
    )
    text = got(console, "/console").text
    assert "1 wrong" in text and "Minutes that do not balance first" in text and "weir.a" in text
    append_rows(
        clickhouse_url,
        landed[0],
        "balance",
        ("minute", "topic", "partition", "produced", "landed", "lost", "counted_at"),
        [(now, "weir.a", 3, 5, 5, 0, now + timedelta(seconds=60))],
    )
    assert "balanced" in got(console, "/console").text


def test_quality_has_a_table_for_each_question_and_examples_lead_to_runs(console):
    text = got(console, "/console/quality").text
    assert all(f'aria-label="{escape(queries()[name].title)}"' in text for name in QUALITY)
    shown = cell(SimpleNamespace(query=lambda **_: {}), "examples", [UUID(int=7)], {})
    assert 'href="/console/runs/00000000-0000-0000-0000-000000000007?"' in shown


@pytest.mark.parametrize("path", [path for path in (page.path for page in all_pages())])
def test_a_page_without_anything_says_so(console, path):
    page = got(console, f"/console/{path}".rstrip("/") + "?tenant=nobody").text
    assert "nan" not in page.lower().replace("tenant", "") and "None" not in page
    assert path in ("definitions", "topology") or any(
        words in page
        for words in (
            "Nothing in this time",
            "No run fits",
            "No call waits",
            "Everything could be processed",
        )
    )
    assert path != "" or ("Nothing needs anybody" in page and "<strong>–</strong>" in page)


def test_what_people_write_is_shown_and_never_run(console):
    text = got(console, "/console/runs").text
    assert "Hello &lt;b&gt;bold&lt;/b&gt;!" in text and "<b>bold" not in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("words=1001", 1),
        ("words=nothing+such", 0),
        ("outcome=failed", 0),
        ("agent=support", 3),
        ("tenant=nobody", 0),
        ("words=%27+OR+1%3D1", 0),
    ],
)
def test_runs_are_found(console, query, found):
    assert got(console, f"/console/runs?{query}").text.count("/console/runs/") == found


def test_a_run_is_a_waterfall_and_a_conversation(console):
    run = console.runs[0]
    text = got(console, f"/console/runs/{run.run}").text
    assert (
        text.count('<svg viewBox="0 0 1000 10"') == 5
        and 'class="graph"' in text
        and "execute_tool lookup_order" in text
        and "on its way" in text
        and "$0.000" in text
    )
    assert got(console, "/console/runs/00000000-0000-0000-0000-000000000000").status_code == 404


def test_older_runs_follow_the_last_one_shown(console):
    newest, *older = sorted(console.runs, key=lambda run: run.at, reverse=True)
    text = got(
        console, "/console/runs", params={"before": newest.at.isoformat(), "below": str(newest.run)}
    ).text
    assert f"runs/{newest.run}" not in text and all(f"runs/{run.run}" in text for run in older)
    assert (
        got(console, "/console/runs?before=yesterday-ish&below=x").text.count("/console/runs/") == 3
    )


def test_a_trace_of_any_source_is_a_page(console):
    run = console.runs[0].run
    trace = got(console, f"/console/runs/{run}").text.split("trace=")[1].split('"')[0].split("&")[0]
    assert f"/console/traces/{trace}" in got(console, "/console/traces").text
    page = got(console, f"/console/traces/{trace}").text
    assert (
        "execute_tool lookup_order" in page
        and 'class="graph"' in page
        and f"/console/runs/{run}" in page
    )
    assert got(console, "/console/traces/nothing").status_code == 404


def test_a_session_is_read_from_its_beginning(console):
    run = console.runs[0]
    text = got(console, "/console/session", params={"session": run.session}).text
    assert all(
        said in text for said in ("Where is my order A-1001?", "Hello &lt;b&gt;bold&lt;/b&gt;!")
    )
    assert text.index("Where is my order") < text.index("Hello &lt;b&gt;")


def test_rows_are_taken_along(console):
    rows = got(
        console, "/console/export/runs.csv?hours=24&agent=&outcome=&words="
    ).text.splitlines()
    assert len(rows) == 4 and rows[0].startswith('"at","run","tenant"')
    parquet = got(console, "/console/export/agents.parquet").content
    assert pyarrow.parquet.read_table(io.BytesIO(parquet)).num_rows == 1
    assert got(console, "/console/export/secrets.csv").status_code == 404


def test_every_table_is_taken_along(console):
    found = {
        name: got(console, f"/console/export/{name}.csv?hours=24").status_code for name in queries()
    }
    assert {name for name, status in found.items() if status != 200} == set()


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "a=1", "", "'=1"]
)
def test_no_text_is_a_formula_in_a_spreadsheet(landed, clickhouse_url, text):
    sql = """SELECT {text:String} AS a, toNullable({text:String}) AS b,
    CAST(NULL AS Nullable(String)) AS c, -1 AS d,
                    toLowCardinality({text:String}) AS `e f` ORDER BY a"""
    settings = Settings(clickhouse_url=clickhouse_url, clickhouse_database=landed[0])
    whole = {
        form: b"".join(export.pieces(*export.open_stream(settings, sql, {"text": text}, form)))
        for form in ("CSVWithNames", "Parquet")
    }
    [names, row] = csv.reader(io.StringIO(whole["CSVWithNames"].decode(), newline=""))
    shown = text if text in ("a=1", "", "'=1") else "'" + text
    assert (names, row) == (["a", "b", "c", "d", "e f"], [shown, shown, "\\N", "-1", shown])
    kept = pyarrow.parquet.read_table(io.BytesIO(whole["Parquet"])).to_pylist()
    assert kept[0]["a"] in (text, text.encode())


def test_a_word_on_an_approval_is_published_once_and_only_from_here(console):
    path = "/console/approvals/7f3c1d2e-0000-5000-8000-000000000001"
    body = "tenant=fernweh&session=s&by=kim&decision=approve"
    assert posted(console, path, body).status_code == 303
    [word] = console.link.published
    assert isinstance(word, ApprovalDecided) and (word.tenant, word.by, word.decision) == (
        "fernweh",
        "kim",
        "approve",
    )
    assert posted(console, path, body, FORM | {"origin": "http://evil.test"}).status_code == 403
    assert len(console.link.published) == 1 and word.arguments is None
    assert posted(console, path, body + "&arguments=%7B%22eur%22%3A+5%7D").status_code == 303
    assert console.link.published[1].arguments == '{"eur": 5}'


def signed_in(console, *scopes, tenant="fernweh", **more):
    key, definition = new_key("desk", tenant, scopes, **more)
    console.link.definitions = Definitions.of(*console.link.definitions.bodies.values(), definition)
    console.cookies.set("weir_key", key)
    return definition


def test_a_key_sees_its_own_tenant_alone(console):
    signed_in(console, "read", tenant="other")
    text = got(console, "/console/runs?tenant=fernweh").text
    assert "Tenant other" in text and text.count("/console/runs/") == 0
    assert got(console, f"/console/runs/{console.runs[0].run}").status_code == 404
    assert got(console, "/console/export/runs.csv?tenant=fernweh").text.count("\n") == 1


def test_without_scope_nothing_is_done(console):
    signed_in(console, "read")
    assert (
        posted(
            console,
            "/console/approvals/7f3c1d2e-0000-5000-8000-000000000001",
            "by=kim&decision=approve",
        ).status_code
        == 403
    )
    assert posted(console, "/console/dead-letters", "source=x").status_code == 403
    assert console.link.published == []
    console.cookies.clear()
    signed_in(console, "feedback")
    assert got(console, "/console").status_code == 403


def test_signing_in_and_out(console):
    key, definition = new_key("desk", "fernweh", ("read",))
    console.link.definitions = Definitions.of(*console.link.definitions.bodies.values(), definition)
    answer = posted(console, "/console/sign-in", f"key={key}")
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert posted(console, "/console/sign-in", f"key={key[:-1]}x").status_code == 401
    assert "You are signed out" in posted(console, "/console/sign-out", "").text


def test_an_expired_key_is_told_so(console):
    signed_in(console, "read", expires=datetime.now(UTC) - timedelta(days=1))
    page = got(console, "/console")
    assert page.status_code == 401 and "expired" in page.text


def test_definitions_show_their_history(console):
    given = console.link.definitions
    model = console.link.definitions.model("small")
    dearer = model.model_copy(update={"timeout_ms": 7_777})
    console.link.definitions = given.having(definitions_topic.plan(given, [dearer], NOON)).having(
        [definitions_topic.removal(given, "tool", "refund_order", NOON)]
    )
    text = got(console, "/console/definitions").text
    assert (
        "small@2" in text and "small@1" in text and "05-04 12:00:00" in text and ", removed" in text
    )
    assert '<span class="plus">+timeout_ms: 7777</span>' in text


def test_definitions_show_no_key(console):
    signed_in(console, "read")
    text = got(console, "/console/definitions").text
    assert "support@1" in text and "sha256" not in text


@pytest.mark.parametrize(
    ("value", "top"), [(1, 1), (3, 5), (0.7, 1), (11, 20), (500, 500), (0.0003, 0.0005)]
)
def test_an_axis_ends_at_a_round_number(value, top):
    assert charts.round_up(value) == pytest.approx(top)


def test_a_chart_shows_eight_series_and_adds_up_the_rest():
    at = datetime(2026, 5, 4, tzinfo=UTC)
    chart = charts.Chart("Cost", [(at, f"m{nth}", float(nth)) for nth in range(1, 13)])
    assert len(chart.names) == 8 and chart.names[-1] == charts.OTHERS
    assert sum(chart.values()[1][charts.OTHERS]) == 1 + 2 + 3 + 4 + 5
    assert "<script>" not in charts.svg(charts.Chart("x", [(at, "<script>", 1.0)]))
