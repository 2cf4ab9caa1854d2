"""The engine benchmark does the same work on all sides, counts it whole and judges it."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from schemas.wire.topics import topics
from streams.config import Settings
from streams.engine.stages.core import Core
from streams.lab import isolated_stack
from streams.lab.bench_engine import broker, comparison, engine
from streams.lab.bench_engine.broker import MeasurementError
from streams.lab.bench_engine.engine import TARGETS, Figure, Target, chosen, row_of
from streams.lab.bench_engine.workload import WORKS, Tally, events, tally
from streams.lab.bench_stack import stack
from streams.lab.bench_stack import streamed_text as words


def test_the_fold_takes_sixteen_fields_and_tells_as_many_at_least():
    work = WORKS["fold"]
    assert len(work.reads.model_fields) == 16 <= len(work.writes.model_fields)
    verdict = next(events(work, 1))
    state, [said] = tally(Tally(2, 5, 1, 0), verdict)
    assert (state.verdicts, state.findings, said.step) == (3, 5 + verdict.findings, 3)
    assert said.partition_key() == verdict.partition_key() and said.cause == verdict.id


@pytest.mark.parametrize("name", WORKS)
def test_input_is_the_same_in_every_run_and_in_order(name: str):
    first, second = ([*events(WORKS[name], 500)] for _ in range(2))
    assert [one.id for one in first] == [one.id for one in second]
    assert [one.at for one in first] == sorted(one.at for one in first)
    assert len({one.id for one in first}) == 500


def test_each_session_of_the_fold_is_seen_twice():
    assert set(Counter(one.partition_key() for one in events(WORKS["fold"], 2_000)).values()) == {2}


def test_windows_close_while_the_input_is_taken():
    work = WORKS["window"]
    core = Core((work.step,))
    said = [made for event in events(work, 20_000) for made in core.take(event)]
    assert said and all(isinstance(made, work.writes) for made in said) and not core.drain_late()


@pytest.mark.parametrize(
    "target, ours, peer, met, words",
    [
        (Target("a", "", "", least=100, times=5), 120, 20, True, "≥ 100 and ≥ 5 × Faust"),
        (Target("a", "", "", least=100, times=5), 120, 30, False, "≥ 100 and ≥ 5 × Faust"),
        (Target("a", "", "", least=100, times=5), 99, 1, False, "≥ 100 and ≥ 5 × Faust"),
        (Target("a", "", "", least=100, times=5), 120, None, False, "≥ 100 and ≥ 5 × Faust"),
        (Target("a", "", "", most=2), 2, None, True, "≤ 2"),
        (Target("a", "", "", most=2), 2.01, None, False, "≤ 2"),
        (Target("a", "", ""), 7, 2, None, ""),
    ],
)
def test_a_row_is_judged(
    target: Target, ours: float, peer: float | None, met: bool | None, words: str
):
    row = row_of(target, Figure(ours, peer))
    assert (row.met, row.target) == (met, words)


@pytest.mark.parametrize("quix, met", [(10, True), (11, False), (None, False)])
def test_a_row_is_judged_by_quix_too(quix: float | None, met: bool):
    row = row_of(Target("a", "", "", times_quix=2), Figure(20, None, quix))
    assert (row.met, row.target) == (met, "≥ 2 × Quix")


def test_rows_are_chosen_by_name_or_part():
    assert chosen([]) == set(TARGETS)
    assert chosen(["sink", "whole"]) == {"sink", "sink_cpu", *engine.WHOLE}
    with pytest.raises(SystemExit, match="no row speed"):
        chosen(["speed"])


def test_a_block_of_ports_is_free_and_not_always_the_same():
    blocks = [isolated_stack.free_block(8) for _ in range(20)]
    assert len(set(blocks)) > 1 and all(first in isolated_stack.PORTS for first in blocks)


def test_metrics_are_read_from_the_text():
    text = '# TYPE x counter\nx_total{consumer="a"} 3\nx_total{consumer="b"} 4.5\nxy 9\n'
    assert comparison.number_of(text, "x") == 7.5
    with pytest.raises(MeasurementError, match="no z"):
        comparison.number_of(text, "z")


def test_a_worker_that_ends_is_quoted(tmp_path: Path):
    with (
        broker.child(
            Settings(home=tmp_path, metrics_port=isolated_stack.free_block(1)),
            "streams.lab.bench_engine.weir_worker",
            "nonsense",
        ) as worker,
        pytest.raises(MeasurementError, match=r"(?s)waiting.*KeyError: 'nonsense'"),
    ):
        worker.wait_until(lambda: False, 60, "waiting")


def test_the_memory_of_a_stack_is_that_of_its_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    import os

    monkeypatch.setattr(stack.stack, "status", lambda home: {"pid": os.getpid()})
    alone = stack.resident_bytes(tmp_path)
    with broker.child(Settings(home=tmp_path), "http.server", "0"):
        assert stack.resident_bytes(tmp_path) > alone > 10_000_000


def test_a_table_shows_every_row():
    result = {
        "cores": 2,
        "load_before": 0.1,
        "rows": [
            {
                "what": "w",
                "ours": 1234,
                "peer": None,
                "ratio": None,
                "quix": None,
                "quix_ratio": None,
                "unit": "ms",
                "target": "",
                "met": None,
            },
            {
                "what": "v",
                "ours": 1,
                "peer": 2,
                "ratio": 0.5,
                "quix": 4,
                "quix_ratio": 0.25,
                "unit": "s",
                "target": "≥ 1",
                "met": False,
            },
        ],
    }
    assert engine.table(result).row_count == 2


def test_parts_name_rows_and_rows_are_in_a_part():
    assert {row for rows in engine.PARTS.values() for row in rows} == set(TARGETS)


@pytest.mark.engine
def test_both_sides_do_the_whole_work(own_settings: Settings):
    settings = own_settings.model_copy(update={"metrics_port": isolated_stack.free_block(1)})
    said: list[str] = []
    figures = comparison.measure(settings, "fold", 0.1, None, said.append)
    assert all(
        figures[name] > 0
        for name in ("ours", "peer", "ours_cpu", "peer_cpu", "ours_restore", "peer_restore")
    )
    out = WORKS["fold"].writes.topic()
    assert topics(broker.PARTITIONS)[out].partitions == broker.PARTITIONS
    counts = SimpleNamespace(
        ours=broker.span(settings, f"{settings.prefix}ours-fold-{out}").records,
        peer=broker.span(settings, f"{settings.prefix}peer-fold-{out}").records,
    )
    assert (counts.ours, counts.peer) == (1_500, 180)


def test_a_word_is_as_old_as_the_reader_has_had_to_wait_for_the_end_of_it():
    spoken = [float(nth) for nth in range(words.WORDS)]
    found = words.ages_of([(0.25, 3), (0.5, 6), (2.25, 20), (99.5, 6 * words.WORDS)], spoken)
    assert found[:4] == [500, 1_250, 250, 96_500] and len(found) == words.WORDS and found[-1] == 500
    with pytest.raises(MeasurementError, match="had 1 of 100 words"):
        words.ages_of([(1.0, 11)], spoken)
