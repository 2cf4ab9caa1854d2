"""Does the same table run in memory, with Calls answered, time moved and failures told?"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from schemas.definitions.kinds import Definitions, Tool
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.ports import Failure, Impossible
from streams.engine.in_memory import Local
from streams.engine.shapes import Call, Each, Step, Tumbling
from tests.support.toy_pipelines import (
    COUNT,
    START,
    Counted,
    Doubled,
    Grouped,
    Ping,
    Rang,
    at,
    double,
    grouping,
    ping,
)


class Asked(Event):
    """Re-keyed to the tenant, so another stage."""

    number: int


class Answered(Event):
    text: str


class Noted(Event):
    text: str


def rekey(event: Doubled) -> Iterator[Asked]:
    yield event.then(Asked, number=event.total)


def ask(event: Asked) -> int | Impossible:
    return Impossible("too_large", "more than 100") if event.number > 100 else event.number


def tell(event: Asked, answer: str | Failure) -> Iterator[Answered]:
    text = f"{answer.reason} at {answer.at:%H:%M}" if isinstance(answer, Failure) else answer
    yield event.then(Answered, text=text)


def note(event: Answered) -> Iterator[Noted]:
    yield event.then(Noted, text=event.text)


GROUP = grouping(Tumbling(timedelta(milliseconds=10)))
PIPELINE = (
    COUNT,
    Step("double", Each(double)),
    Step("rekey", Each(rekey)),
    Step("ask", Call(ask, "oracle", tell)),
    Step("note", Each(note)),
    GROUP,
)


def local(oracle=lambda number: f"{number}!", **more) -> Local:
    return Local(PIPELINE, ports={"oracle": oracle}, **more)


def kinds(events):
    return [type(event) for event in events]


def test_everything_caused_comes_in_order_across_stages_and_calls():
    said = local().send(ping(1, n=4))
    assert kinds(said) == [Counted, Doubled, Asked, Answered, Noted]
    assert said[-1].text == "8!" and said[-1].tenant == "acme"
    assert [event.cause for event in said[1:]] == [event.id for event in said[:-1]]


def test_the_same_events_say_the_same():
    pings = [ping(n, n, n, session=f"s{n % 2}") for n in range(9)]
    assert local().send(*pings) == local().send(*pings)


def test_questions_are_asked_one_after_another_in_their_order():
    asked = []
    local(oracle=lambda number: asked.append(number) or "").send(
        *(ping(n, n=n + 1) for n in range(4))
    )
    assert asked == [2, 6, 12, 20]


def test_a_port_may_be_async():
    async def oracle(number):
        return f"later {number}"

    pipeline = local(oracle)
    assert [pipeline.send(ping(n, n=1))[-1].text for n in (1, 2)] == ["later 2", "later 4"]
    pipeline.close()


def test_what_cannot_be_asked_is_told_as_a_failure_and_the_port_is_not_asked():
    said = local(oracle=lambda number: pytest.fail("it was asked")).send(ping(1, n=51))
    assert said[-1].text == f"too_large at {START:%H:%M}"


def test_time_fires_timers_in_order_and_then_closes_windows():
    pipeline = local()
    pipeline.send(ping(1, 0, sleep_ms=30, session="a"), ping(2, 0, sleep_ms=20, session="b"))
    assert pipeline.advance(at(9)) == []
    said = pipeline.advance(at(30))
    assert [(event.session, event.at) for event in said if isinstance(event, Rang)] == [
        ("b", at(20)),
        ("a", at(30)),
    ]
    assert kinds(said).index(Grouped) > max(n for n, kind in enumerate(kinds(said)) if kind is Rang)
    assert [event.who for event in said if isinstance(event, Grouped)] == ["acme/a", "acme/b"]
    assert pipeline.advance(at(31)) == []


@pytest.mark.parametrize(
    "sent, consumer, reason, detail",
    [
        (ping(1, n=13), "session", "unprocessable", "unlucky"),
        (ping(1, n=3), "ask", "error", "ZeroDivisionError: a mistake"),
    ],
)
def test_what_raises_is_a_dead_letter_and_the_rest_goes_on(sent, consumer, reason, detail):
    def oracle(number):
        if number == 6:
            raise ZeroDivisionError("a mistake")
        return "ok"

    pipeline = local(oracle)
    letter = pipeline.send(sent)[-1]
    assert isinstance(letter, DeadLettered)
    assert (letter.consumer, letter.reason, letter.detail, letter.tenant) == (
        consumer,
        reason,
        detail,
        "acme",
    )
    assert letter.record_value is not None
    assert kinds(pipeline.send(ping(2, n=1)))[-1] is Noted


def test_a_late_event_is_a_dead_letter_and_was_taken_by_the_other_steps():
    pipeline = local()
    pipeline.send(ping(1, 100))
    said = pipeline.send(ping(2, 0))
    letters = [event for event in said if isinstance(event, DeadLettered)]
    assert [(letter.consumer, letter.reason) for letter in letters] == [("session/group", "late")]
    assert Ping.model_validate_json(letters[0].record_value) == ping(2, 0)
    assert Counted in kinds(said)


def test_a_window_that_cannot_speak_is_a_dead_letter():
    def close(key, start, end, numbers) -> list[Grouped]:
        raise ZeroDivisionError("a mistake")

    step = grouping(Tumbling(timedelta(milliseconds=10)), close=close)
    pipeline = Local((step,))
    pipeline.send(ping(1, n=7))
    [letter] = pipeline.advance(at(50))
    assert (letter.consumer, letter.reason, letter.record_value) == (
        "session/group",
        "error",
        b"[7]",
    )


def test_the_definitions_are_given_as_a_snapshot_or_a_function():
    def see(event: Ping, definitions: Definitions) -> list[Counted]:
        return [event.then(Counted, total=len(definitions.bodies))]

    tools = Definitions.of(Tool(name="lookup", url="http://t"))
    for definitions in (tools, lambda: tools):
        local = Local((Step("see", Each(see)),), definitions=definitions)
        assert local.send(ping(1))[0].total == 1


def test_a_port_that_is_missing_is_said_at_once():
    with pytest.raises(ValueError, match="ask asks the port 'oracle': give Local ports"):
        Local(PIPELINE)
