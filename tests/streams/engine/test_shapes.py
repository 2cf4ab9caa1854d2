"""What a step reads and writes, and whether it needs the definitions, is found from annotations."""

from datetime import datetime, timedelta

import pytest

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event
from streams.engine.shapes import Call, Each, Fold, Step, Tumbling, Window, kinds
from tests.support.toy_pipelines import Count, Counted, Doubled, Grouped, Ping, Rang, ping

NOBODY = Definitions()


def plain(event: Ping) -> list[Counted | Doubled]:
    return [event.then(Counted, total=event.n)]


def informed(event: Ping | Rang, definitions: Definitions) -> list[Counted]:
    assert definitions is NOBODY
    return [event.then(Counted, total=0)]


def folded(state: Count, event: Ping | Rang) -> tuple[Count | None, list[Counted]]:
    return state, []


def informed_fold(
    state: Count, event: Ping, definitions: Definitions
) -> tuple[Count | None, list[Counted | Doubled]]:
    assert definitions is NOBODY
    return None, []


def add(total: int, event: Ping) -> int:
    return total + event.n


def close(
    key: str, start: datetime, end: datetime, total: int, definitions: Definitions
) -> list[Grouped]:
    assert definitions is NOBODY
    return []


def ask(event: Ping) -> int:
    return event.n


def tell(event: Ping, answer: int, definitions: Definitions) -> list[Counted]:
    assert definitions is NOBODY
    return [event.then(Counted, total=answer)]


@pytest.mark.parametrize(
    ("shape", "reads", "writes", "needs"),
    [
        (Each(plain), {Ping}, {Counted, Doubled}, False),
        (Each(informed), {Ping, Rang}, {Counted}, True),
        (Fold(Count, folded), {Ping, Rang}, {Counted}, False),
        (Fold(Count, informed_fold), {Ping}, {Counted, Doubled}, True),
        (Window(int, add, close, Tumbling(timedelta(1))), {Ping}, {Grouped}, True),
        (Call(ask, "port", tell), {Ping}, {Counted}, True),
    ],
)
def test_a_row_is_its_name_and_its_shape(shape, reads, writes, needs):
    step = Step("step", shape)
    assert ({*kinds(step.reads)}, {*kinds(step.writes)}) == (reads, writes)
    assert step.needs_definitions is needs


def test_every_function_is_called_with_the_definitions_and_gets_them_if_it_declares_them():
    event = ping(1, n=3)
    assert Each(plain).run(event, NOBODY) == Each(informed).run(event, NOBODY)[:0] + plain(event)
    assert Fold(Count, folded).run(Count(), event, NOBODY) == (Count(), [])
    assert Fold(Count, informed_fold).run(Count(), event, NOBODY) == (None, [])
    window = Window(int, add, close, Tumbling(timedelta(1)))
    assert window.run_add(1, event, NOBODY) == 4
    assert window.run_close("key", event.at, event.at, 4, NOBODY) == []
    call = Call(ask, "port", tell)
    assert call.run_tell(event, call.run_ask(event, NOBODY), NOBODY)[0].total == 3


def test_a_function_that_does_not_say_its_events_is_refused_by_name():
    def silent(event):
        return []

    def reads_only(event: Ping):
        return []

    def vague(event: Ping) -> list[Event]:
        return []

    for function in (silent, reads_only, vague, lambda event: []):
        with pytest.raises(TypeError, match="does not say which events it reads and writes"):
            Step("step", Each(function))


def test_a_function_with_an_argument_of_another_kind_is_refused_by_name():
    def curious(event: Ping, clock: datetime) -> list[Counted]:
        return []

    with pytest.raises(TypeError, match=r"curious takes 2 arguments.*`definitions: Definitions`"):
        Step("step", Each(curious))
