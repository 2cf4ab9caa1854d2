"""Are an hour's runs counted in the right buckets, each once, whatever their order?"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.quality.profiles import NAMES, NUMBERS, Hour, add, bucket, close, script
from processors.usage.metering import settle
from schemas.events.agent.runs import RunFinished, RunSettled
from tests.support.processors import NOON, ident, of_run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Where is A-1?", "latin"),
        ("Où est ma commande à Genève ?", "latin"),
        ("Где мой заказ A-1?", "cyrillic"),
        ("我的订单在哪里", "han"),
        ("أين طلبي؟", "arabic"),
        ("Πού είναι;", "other"),
        ("주문", "other"),
        ("12 - 4?", "none"),
        ("", "none"),
        ("😀 !", "none"),
        ("ok да да", "cyrillic"),
        ("\ud800", "none"),
    ],
)
def test_the_script_of_a_text(text, said):
    assert script(text) == said


@pytest.mark.parametrize(
    ("number", "lower"),
    [
        (0, "0"),
        (1, "1"),
        (2, "2"),
        (3, "2"),
        (4, "4"),
        (127, "64"),
        (128, "128"),
        (2**53, str(2**38)),
    ],
)
def test_the_bucket_of_a_number(number, lower):
    assert bucket(number) == lower


def test_there_are_no_more_buckets_than_names():
    assert len({bucket(number) for power in range(54) for number in (0, 2**power)}) == NAMES


def test_a_settled_run_tells_lengths_and_script_and_no_text():
    [settled] = settle(
        of_run(
            RunFinished,
            "f",
            outcome="completed",
            text="Где заказ?",
            answer="Here.",
            started_at=NOON,
            wait_ms=900,
            model="small",
        )
    )
    assert (settled.agent, settled.model, settled.wait_ms) == ("support", "small", 900)
    assert (settled.question_chars, settled.answer_chars, settled.script) == (10, 5, "cyrillic")
    assert "заказ" not in settled.model_dump_json()


def run(name: str = "r", agent: str = "support", **more) -> RunSettled:
    return RunSettled(
        **{
            "id": ident(name),
            "at": NOON,
            "tenant": "acme",
            "session": "s",
            "run": ident(name),
            "agent": agent,
            "outcome": "completed",
            "model": "small",
            "script": "latin",
        }
        | more
    )


def test_an_hour_tells_each_agent_for_itself():
    hour = Hour()
    for one in (
        run(question_chars=70),
        run(question_chars=127, outcome="failed", model=""),
        run(agent="audit"),
        run(agent=""),
    ):
        hour = add(hour, one)
    audit, support = close("acme", NOON, NOON + timedelta(hours=1), hour)
    assert (audit.agent, audit.runs, support.agent, support.runs) == ("audit", 1, "support", 2)
    assert support.question_chars == {"64": 2} and support.outcome == {"completed": 1, "failed": 1}
    assert (
        support.model == {"small": 1, "none": 1} and support.at == NOON and audit.id != support.id
    )


def test_more_names_than_are_kept_are_other():
    hour = Hour()
    for n in range(NAMES + 5):
        hour = add(hour, run(model=f"m{n}"))
    [said] = close("acme", NOON, NOON, hour)
    assert len(said.model) == NAMES + 1 and said.model["other"] == 5


@given(
    st.permutations(
        [run(str(n), question_chars=n * n, wait_ms=n, model=f"m{n % 3}") for n in range(12)]
    )
)
def test_the_order_of_runs_does_not_matter(runs):
    hour = Hour()
    for one in runs:
        hour = add(hour, one)
    [said] = close("acme", NOON, NOON, hour)
    assert said.question_chars == {"0": 1, "1": 1, "4": 1, "8": 1, "16": 2, "32": 2, "64": 4}
    assert all(sum(getattr(said, feature).values()) == 12 for feature in NUMBERS)
