"""Does the stage worker take every record exactly once, whatever is killed, paused or wrong?"""

import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from schemas.events.agent.runs import (
    AgentRequested,
    RequestAdmitted,
    RequestBlocked,
    RequestRefused,
    Woke,
)
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.events.usage import TokensUsed, UsageTotalled
from streams.engine.shapes import stages
from streams.engine.stages.core import Core
from streams.engine.stages.partition import Partitioner
from tests.support.stages import PARTITIONS, Toy, asked, by_id, cancelled, settled, toy, until
from tests.support.toy import TOY

pytestmark = pytest.mark.engine
RESUMED_S = 10
"""What a crash may cost."""
HEARD = (RequestAdmitted, TokensUsed, RequestRefused, UsageTotalled)


def said(bench: Toy) -> dict[type[Event], list[tuple[int, Event]]]:
    """Every committed output with the number of the event that caused it, in the topics' order."""
    return {
        kind: [
            (int(dict(m.headers())["weir_seq"]), bench.codec.decode(kind, m.value(), m.key()))
            for m in bench.messages(kind)
        ]
        for kind in HEARD
    }


def check(bench: Toy, asked_events: list[Event]) -> int:
    """Row by row against a replay of what was taken, in the order in which it was taken. Returns
    the rows compared.
    """
    outputs, place = said(bench), Partitioner(PARTITIONS)
    inputs, rows = by_id(asked_events), 0
    order: dict[int, list[tuple[int, Event]]] = defaultdict(list)
    for seq, event in outputs[RequestAdmitted]:
        order[place.of(event.tenant.encode())].append((seq, inputs[event.cause]))
    expected = defaultdict(lambda: defaultdict(list))
    late = 0
    for number, taken in order.items():
        core = Core(stages(TOY)["tenant"])
        for seq, event in sorted(taken, key=lambda one: one[0]):
            for made in core.take(event):
                expected[number][type(made)].append((seq, made))
        late += len(core.drain_late())
    for kind, got in outputs.items():
        for number in range(PARTITIONS):
            here = [(seq, e) for seq, e in got if place.of(e.tenant.encode()) == number]
            if (
                kind.key != "tenant"
            ):  # re-keyed: over several partitions, in order of the number within each
                here = sorted(here, key=lambda one: one[0])
            assert here == expected[number][kind], (kind, number)
            rows += len(here)
    assert (
        len(outputs[RequestAdmitted])
        == len(asked_events)
        == len({e.cause for _, e in outputs[RequestAdmitted]})
    )
    assert [d.reason for d in bench.events(DeadLettered)] == ["late"] * late
    return rows


def keep_alive(bench: Toy) -> None:
    for slot, process in list(bench.workers.items()):
        if process.poll() is not None:
            bench.start(slot)


def traffic(
    bench: Toy, goes_on: Callable[[float], bool], rate: int, chaos: Callable[[float], None]
) -> list[Event]:
    """Publishes two kinds of events of 40 tenants, slightly out of order in time; calls `chaos` all
    the while.
    """
    dice, sent, began = random.Random(7), [], time.monotonic()
    while goes_on(elapsed := time.monotonic() - began):
        while len(sent) < elapsed * rate:
            at = datetime.now(UTC) - timedelta(milliseconds=dice.randrange(700))
            tenant = f"tenant-{dice.randrange(40)}"
            sent.append(settled(tenant, at) if dice.random() < 0.3 else asked(tenant, at=at))
            bench.publish(sent[-1])
        chaos(elapsed)
        time.sleep(0.01)
    bench.flush()
    return sent


def test_killed_workers_lose_double_and_reorder_nothing(bootstrap, tmp_path):
    with (
        toy(bootstrap, "tenant", tmp_path, idle_close_s=600, batch_events=200) as bench,
        bench.supervised(2) as kill,
    ):
        dice, killed, moved = random.Random(3), [0.0], [0]

        def chaos(elapsed: float) -> None:
            assert elapsed - killed[-1] < RESUMED_S, "nothing moves since the last kill"
            if bench.count(RequestAdmitted) > moved[-1] + 50 and kill(dice.randrange(2)):
                killed.append(
                    elapsed
                )  # in the midst of its work: things went on since the last kill
                moved.append(bench.count(RequestAdmitted))

        sent = traffic(bench, lambda elapsed: len(killed) <= 10, 300, chaos)
        until(lambda: bench.count(RequestAdmitted) >= len(sent), "all taken")
        assert check(bench, sent) > 2 * len(sent)


def test_a_paused_worker_is_fenced_by_its_replacement(bootstrap, tmp_path):
    with toy(bootstrap, "tenant", tmp_path, idle_close_s=600, batch_events=50) as bench:
        zombie, paused, woken = bench.start(0), [], []

        def chaos(elapsed: float) -> None:
            if not paused and bench.count(RequestAdmitted) > 50:
                zombie.send_signal(signal.SIGSTOP)
                paused.append(bench.start(0))  # a supervisor replaces the same slot
            if paused and not woken and bench.assigned(0):
                woken.append(zombie.send_signal(signal.SIGCONT))

        sent = traffic(bench, lambda elapsed: not woken or zombie.poll() is None, 400, chaos)
        until(lambda: keep_alive(bench) or bench.count(RequestAdmitted) >= len(sent), "all taken")
        assert zombie.returncode != 0
        check(bench, sent)


def test_what_cannot_be_taken_is_a_dead_letter_and_the_rest_goes_on(bootstrap, tmp_path):
    now = datetime.now(UTC)
    with toy(bootstrap, "tenant", tmp_path) as bench:
        bench.start(0)
        home = Partitioner(PARTITIONS)
        before, after = asked("acme"), asked("acme")
        bench.publish(before)
        good = bench.codec.encode(asked("acme"))
        bench.put(AgentRequested, b"no avro", b"acme")
        bench.put(AgentRequested, b"\x00\x00\x00\xff\xff" + good[5:], b"acme")
        bench.put(AgentRequested, None, b"acme")
        bench.put(AgentRequested, good, b"somebody else")
        bench.put(AgentRequested, good, None, partition=0)
        bench.put(AgentRequested, good, b"acme", partition=(home.of(b"acme") + 1) % PARTITIONS)
        bench.publish(
            asked("acme", at=now + timedelta(hours=1)),
            asked("acme", at=now - timedelta(days=400)),
            asked("acme", "unprocessable"),
            asked("acme", "error"),
            asked("acme", "huge"),
            asked("acme", "huge state"),
            after,
        )
        bench.flush()
        until(lambda: bench.count(DeadLettered) >= 12, "twelve dead letters", 30)
        until(
            lambda: after.id in {e.cause for e in bench.events(RequestAdmitted)},
            "the last one taken",
        )
        letters = bench.events(DeadLettered)
        assert sorted(letter.reason for letter in letters) == sorted(
            [
                "not_avro",
                "unknown_schema",
                "not_avro",
                "wrong_key",
                "wrong_key",
                "wrong_key",
                "future",
                "expired",
                "unprocessable",
                "error",
                "rejected",
                "rejected",
            ]
        )
        assert {e.cause: e.text for e in bench.events(RequestAdmitted)} == {
            before.id: "1",
            after.id: "2",
        }
        [wrong] = [letter for letter in letters if letter.reason == "unknown_schema"]
        assert (wrong.record_key, wrong.record_value[5:]) == (b"acme", good[5:])
        assert wrong.tenant == "acme" and wrong.consumer == "stage-tenant"
        assert bench.workers[0].poll() is None, "the worker never ended"


def test_a_consumer_that_would_bury_everything_stops_and_passes_nothing_over(bootstrap, tmp_path):
    with toy(bootstrap, "tenant", tmp_path) as bench:
        for _ in range(300):
            bench.put(AgentRequested, b"no avro", b"acme")
        bench.flush()
        worker = bench.start(0)
        until(lambda: worker.poll() is not None, "the worker stops", 20)
        assert worker.returncode != 0
        assert "WEIR_DEAD_SHARE_MAX" in bench.log(0)
        assert bench.count(DeadLettered) < 300


def test_a_timer_fires_once_also_when_its_worker_is_killed(bootstrap, tmp_path):
    with toy(bootstrap, "session", tmp_path) as bench:
        bench.start(0)
        sent = [cancelled(f"tenant-{n}", f"session-{n}") for n in range(20)]
        bench.publish(*sent)
        bench.flush()
        until(lambda: "assigned" in bench.log(0), "assigned")
        bench.kill(0)
        bench.start(0)
        until(lambda: bench.count(RequestBlocked) >= 20, "all woken")
        woken = {(e.tenant, e.session): e.at for e in bench.events(Woke)}
        assert len(bench.events(Woke)) == len(woken) == 20
        for event in sent:
            assert woken[event.tenant, event.session] == event.at + timedelta(milliseconds=300)
        assert [e.detail for e in bench.events(RequestBlocked)] == ["1"] * 20


def test_windows_of_a_quiet_partition_close(bootstrap, tmp_path):
    with toy(bootstrap, "tenant", tmp_path, idle_close_s=0.5) as bench:
        bench.start(0)
        bench.publish(*(asked("acme") for _ in range(5)))
        bench.flush()
        until(lambda: sum(e.calls for e in bench.events(UsageTotalled)) == 5, "totalled", 20)


def test_sigterm_drains_and_another_worker_goes_on(bootstrap, tmp_path):
    with toy(bootstrap, "tenant", tmp_path, idle_close_s=600) as bench:
        first = bench.start(0)
        sent = [asked(f"tenant-{n % 9}") for n in range(3_000)]
        bench.publish(*sent[:1500])
        bench.flush()
        until(lambda: bench.count(RequestAdmitted) > 0, "begun")
        first.terminate()
        assert first.wait(10) == 0
        assert "drained" in bench.log(0)
        bench.publish(*sent[1500:])
        bench.flush()
        bench.start(0)
        until(lambda: bench.count(RequestAdmitted) >= len(sent), "all taken")
        assert "aborted" not in bench.log(0)
        check(bench, sent)
