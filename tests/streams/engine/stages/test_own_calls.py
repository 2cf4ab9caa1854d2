"""A stage that makes its own calls is exact, whatever is killed, stopped or aborted."""

import contextlib
import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event
from tests.support.stages import Toy, toy, until
from tests.support.talk import Model, model, request, requests, wrong
from tests.support.toy_talk import TALK

pytestmark = pytest.mark.engine


@contextlib.contextmanager
def talking(
    bootstrap: str, folder: Path, control: str = "", **faults: object
) -> Iterator[tuple[Toy, Model]]:
    with model() as outside:
        program = ("tests.support.talk_worker", outside.url, json.dumps(faults))
        with toy(bootstrap, "session", folder, TALK, program, control=control) as bench:
            yield bench, outside


def keep_alive(bench: Toy) -> int:
    """Starts again what has ended; how many that were."""
    ended = [slot for slot, process in bench.workers.items() if process.poll() is not None]
    for slot in ended:
        bench.start(slot)
    return len(ended)


def drive(bench: Toy, sent: list[Event], rate: int, kills: int = 0) -> int:
    """Publishes at a rate, kills workers in the midst of it, and waits until all is finished.
    Returns how often a worker ended.
    """
    dice, began, done, deaths = random.Random(5), time.monotonic(), 0, 0
    next_kill = 2.0
    while done < len(sent):
        elapsed = time.monotonic() - began
        due = min(len(sent), int(elapsed * rate))
        if due > done:
            bench.publish(*sent[done:due])
            done = due
        if kills and elapsed > next_kill:
            next_kill = elapsed + dice.uniform(1.5, 3)
            kills -= 1
            bench.kill(dice.randrange(len(bench.workers)))
        deaths += keep_alive(bench)
        time.sleep(0.01)
    bench.flush()

    def over() -> bool:
        nonlocal deaths
        deaths += keep_alive(bench)
        return bench.count(RunFinished) >= len(sent)

    until(over, "all runs finished", 150)
    return deaths


def test_killed_workers_lose_double_and_mix_up_nothing(bootstrap, tmp_path, kills=8):
    with talking(bootstrap, tmp_path, kill=0.004, abort=0.01) as (bench, outside):
        bench.start(0), bench.start(1)
        sent = requests(random.Random(3), 60 * (8 + 2 * kills), 200, 1_000)
        deaths = drive(bench, sent, 60, kills)
        assert wrong(bench, sent) == {}
        assert deaths >= kills
        assert sum(outside.asked.values()) - len(outside.asked) < 60 * deaths


def test_what_was_asked_is_known_by_its_words(bootstrap, tmp_path):
    with talking(bootstrap, tmp_path, abort=0.2) as (bench, _):
        bench.start(0)
        sent = requests(random.Random(4), 900, 12, 60)
        drive(bench, sent, 150)
        assert bench.log(0).count("transaction aborted") > 20
        assert wrong(bench, sent) == {}


def test_control_by_its_id_alone_a_question_gets_the_answer_to_another(bootstrap, tmp_path):
    """In one of three tries at least: another order of requests and answers is a matter of time."""
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with talking(bootstrap, folder, control="words", abort=0.2) as (bench, _):
            bench.start(0)
            sent = requests(random.Random(4 + attempt), 900, 12, 60)
            drive(bench, sent, 150)
            if wrong(bench, sent)["answer to other words"]:
                return
    pytest.fail("no answer was given to other words")


def stopped_and_replaced(bench: Toy, sent: list[Event]) -> None:
    """One of two workers stops in the midst of a transaction that holds nothing but answers, the
    other takes its partitions, and it goes on where it stopped.
    """
    zombie = bench.start(0)
    bench.start(1)
    until(lambda: bench.assigned(0) and bench.assigned(1), "both have partitions")
    bench.publish(*sent)
    bench.flush()
    until(lambda: stands_still(zombie.pid), "one of them stops")
    taken = bench.log(1).count("assigned partitions")
    until(lambda: bench.log(1).count("assigned partitions") > taken, "the other takes over")
    time.sleep(0.5)
    zombie.send_signal(signal.SIGCONT)
    until(lambda: keep_alive(bench) * 0 or bench.count(RunFinished) >= len(sent), "all finished")
    time.sleep(1)


def stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_stopped_worker_cannot_commit_answers_of_partitions_that_it_lost(bootstrap, tmp_path):
    with talking(bootstrap, tmp_path, stop_slot=0, stop_at=3) as (bench, _):
        sent = [request(f"s{nth}", 300 + 40 * nth, 400) for nth in range(40)]
        stopped_and_replaced(bench, sent)
        assert wrong(bench, sent) == {}


def test_control_without_offsets_it_can(bootstrap, tmp_path):
    """In one of three tries at least: what was sent before the stop may hold the other up."""
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with talking(bootstrap, folder, control="offsets", stop_slot=0, stop_at=3) as (bench, _):
            sent = [request(f"s{nth}", 300 + 40 * nth, 400) for nth in range(40)]
            stopped_and_replaced(bench, sent)
            if wrong(bench, sent)["answered not once"]:
                return
    pytest.fail("a worker that had lost its partitions was kept from nothing")


def test_control_a_state_that_is_not_read_back_after_an_abort_is_wrong(bootstrap, tmp_path):
    with talking(bootstrap, tmp_path, abort=0.1, reload=False) as (bench, _):
        bench.start(0)
        sent = requests(random.Random(4), 300, 12, 60)
        bench.publish(*sent)
        bench.flush()
        until(
            lambda: bench.log(0).count("on purpose") * 0 or bench.count(ModelAsked) > 100, "asked"
        )
        assert wrong(bench, sent)["asked not once"] + wrong(bench, sent)["chain"] > 0


def test_a_slow_call_holds_nothing_up_and_is_asked_again_after_a_crash(bootstrap, tmp_path):
    with talking(bootstrap, tmp_path) as (bench, outside):
        bench.start(0)
        slow = [request(f"slow{nth}", 6_000) for nth in range(20)]
        bench.publish(*slow)
        bench.flush()
        until(lambda: outside.under_way == 20, "the slow ones are asked")
        until(lambda: bench.count(ModelAsked) == 20, "their questions are committed")
        quick = [request(f"quick{nth}", 1) for nth in range(20)]
        bench.publish(*quick)
        bench.flush()
        until(lambda: bench.count(RunFinished) == 20, "the quick ones are finished", 4)
        bench.kill(0)
        bench.start(0)
        until(lambda: bench.count(RunFinished) == 40, "all finished", 30)
        assert wrong(bench, [*slow, *quick]) == {}
        assert sum(outside.asked.values()) == 60


def test_asked_to_end_it_lets_its_calls_end_and_nothing_is_repeated(bootstrap, tmp_path):
    with talking(bootstrap, tmp_path) as (bench, outside):
        first = bench.start(0)
        sent = [request(f"s{nth}", 3_000, 5) for nth in range(30)]
        bench.publish(*sent)
        bench.flush()
        until(lambda: outside.under_way == 30, "all are asked")
        first.terminate()
        assert first.wait(12) == 0
        assert outside.under_way == 0
        bench.start(0)
        until(lambda: bench.count(RunFinished) == 30, "all finished")
        assert wrong(bench, sent) == {}
        assert set(outside.asked.values()) == {1}
