"""The playground runs an agent from its file alone, with clear errors."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.embedded.scripted.faults import faulty
from streams.cli.main import application
from streams.definitions.folder import DefinitionsError
from streams.engine.errors import UserError
from streams.lab.replay.recorded_runs import differences

COMPANY = Path(__file__).parents[3] / "infra/company"
SUPPORT = str(COMPANY / "agents/support.yaml")


def tried(*words, typed=""):
    return CliRunner().invoke(application("try"), ["try", *words], input=typed)


def test_it_answers_with_tools_and_documents_and_remembers_what_was_said():
    result = tried(
        SUPPORT,
        "--tenant",
        "fernweh",
        "-m",
        "Where is my order A-1001?",
        "-m",
        "And how long do I have to send it back?",
    )
    assert result.exit_code == 0 and "on its way" in result.stdout and "60 days" in result.stdout
    assert "calls      lookup_order" in result.stderr and "found      3 passages" in result.stderr


def test_what_is_typed_is_said_until_an_empty_line():
    result = tried(SUPPORT, "--quiet", typed="Hello!\n\nnever said\n")
    assert (
        result.stdout.count("Hello, this is the support") == 1 and "never said" not in result.stdout
    )


def test_a_refusal_is_an_outcome_and_not_a_success():
    result = tried(SUPPORT, "--tenant", "nobody", "-m", "Hello!", "--json")
    assert result.exit_code == 1 and '"outcome": "refused"' in result.stdout


def test_an_agent_that_asks_others_shows_who_says_what():
    team = str(COMPANY.parent / "examples/team/agents/front_desk.yaml")
    result = tried(team, "-m", "My invoice is wrong")
    assert (
        result.stdout.strip().endswith("we send you a corrected one today.")
        and "billing" in result.stderr
    )


def test_a_workflow_that_waits_is_helped_on_by_a_signal_and_by_time():
    group = '{"people": 12, "day": "Saturday"}'
    excursion = str(COMPANY.parent / "examples/workflow/agents/excursion.yaml")
    result = tried(
        excursion, "-m", group, "-m", '/signal deposit_paid {"usd": 50}', "-m", "/later 600"
    )
    assert result.exit_code == 0 and "See you on Saturday with tickets TT-9." in result.stdout
    assert result.stderr.count("the run waits: for a person, an event or time") == 2
    undone = tried(
        excursion,
        "-m",
        group.replace("Saturday", "Sunday"),
        "-m",
        '/signal deposit_paid {"usd": 20}',
    )
    assert undone.exit_code == 1 and "undoes     release_hut" in undone.stderr
    assert "write /signal NAME PAYLOAD" in str(tried(excursion, "-m", "/later soon").exception)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("nothing.yaml", "is no file: give an agent's"),
        (str(COMPANY / "script.yaml"), "an agent's file must be in a folder agents/"),
        (str(COMPANY / "tools/lookup_order.yaml"), "there is no agent 'lookup_order'"),
    ],
)
def test_what_is_no_agent_is_said(file, says):
    found = tried(file, "-m", "x").exception
    assert isinstance(found, DefinitionsError) and says in str(found)


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ("good", "hello there\n"),
        ("529", "hello there\n"),
        ("truncated", "hello \nhello \nhello \nfailed: truncated: "),
    ],
)
def test_a_model_that_streams_is_read_while_it_talks(tmp_path, fault, shown):
    with faulty() as server:
        for path, lines in {
            "tenants/me": "requests_per_minute: 600",
            "agents/talk": "prompt: Be brief.\nmodel: ill\nfallback: [well]",
            "models/ill": f"provider: anthropic\nbase_url: {server.at(fault)}\n"
            "upstream: x\nstream: true",
            "models/well": f"provider: openai\nbase_url: {server.at('good')}\n"
            "upstream: x\nstream: true",
        }.items():
            file = tmp_path / f"{path}.yaml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(lines)
        result = tried(str(tmp_path / "agents/talk.yaml"), "-m", "Hi")
    assert result.stdout.replace("hello the\n", "hello \n").startswith(shown)
    assert (result.exit_code, result.stdout.count("hello there")) == (
        (0, 1) if shown.startswith("hello there") else (1, 0)
    )


REFUNDS = str(COMPANY.parent / "examples/refunds/agents/clerk.yaml")


def test_who_tries_it_answers_its_questions_and_agrees_or_not():
    agreed = tried(REFUNDS, "-m", "I want my money back", "-m", "L-7", "-m", "/approve")
    assert agreed.exit_code == 0 and '"paid_eur":40' in agreed.stdout
    assert (
        "asks you   Which order is it?" in agreed.stderr
        and "needs      the word of mara" in agreed.stderr
    )
    refused = tried(REFUNDS, "-m", "L-7: money back", "-m", "/deny not this one")
    assert (
        "denied     pay_back by mara not this one" in refused.stderr
        and '"paid_eur":0' in refused.stdout
    )
    silent = tried(REFUNDS, "-m", "L-7: money back", "-m", "/later 172801")
    assert "expired    pay_back" in silent.stderr and '"paid_eur":0' in silent.stdout
    assert "decides nothing" in str(tried(REFUNDS, "-m", "/approve").exception)


def test_what_is_tried_may_be_recorded_once_and_is_a_history_then(tmp_path):
    clerk = str(COMPANY.parent / "examples/refunds/agents/clerk.yaml")
    place = tmp_path / "mine" / "paid.jsonl"
    result = tried(
        clerk, "-m", "L-7: money back", "-m", "/approve", "--quiet", "--record", str(place)
    )
    assert result.exit_code == 0 and "ApprovalDecided" in place.read_text()
    assert differences(place) == []
    again = tried(clerk, "-m", "L-7: money back", "--record", str(place))
    assert isinstance(again.exception, UserError) and "is there already" in str(again.exception)
