"""The outage of ClickHouse: its length, the measured memory, and its end."""

import itertools
import signal

import pytest

from infra.embedded.service import StackError
from streams.config import Settings
from streams.engine.errors import UserError
from streams.lab.chaos import outage


@pytest.fixture
def machine(monkeypatch):
    """A machine on which the sink worker grows by a megabyte a look, ClickHouse is restarted once,
    and rows come back.
    """
    said = []
    grown = itertools.count()
    looks = itertools.count()
    landed = iter([UserError("away"), 60, 90, 100])
    services = {
        name: {"pid": name, "restarts": 0} for name in ("clickhouse", *outage.WAITING.values())
    }

    def kill(home, name, number=signal.SIGKILL):
        said.append((name, number))
        if len(said) == 2:
            services[name]["restarts"] += 1
            raise StackError("it is being restarted")

    def rows_of(settings, sql):
        found = next(landed)
        if isinstance(found, UserError):
            raise found
        return [{"runs": found}]

    monkeypatch.setattr(outage.stack, "kill", kill)
    monkeypatch.setattr(outage.stack, "status", lambda home: {"services": services})
    monkeypatch.setattr(
        outage,
        "resident_mb",
        lambda pid: 80.4 + next(grown) if pid == "sink-clickhouse-0" else 300.0,
    )
    monkeypatch.setattr(outage, "rows_of", rows_of)
    monkeypatch.setattr(outage.time, "monotonic", lambda: float(next(looks)))
    monkeypatch.setattr(outage.time, "sleep", lambda seconds: None)
    return said


def test_an_outage_is_told_to_its_end(machine, tmp_path):
    words = []
    found = outage.stop_clickhouse(
        Settings(home=tmp_path), 5 / 60, lambda: 100, lambda done, text: words.append(text)
    )
    stops = [number for name, number in machine if name == "clickhouse"]
    assert set(stops[:-1]) == {signal.SIGSTOP} and stops[-1] == signal.SIGCONT and len(stops) > 3
    assert (
        found["runs_behind"] == 40
        and found["caught_up_s"] > 0
        and found["restarts"]["clickhouse"] == 1
    )
    assert found["mb_before"] == {"sink": 80, "broker": 300, "balancing": 300}
    megabytes = [found[f"mb_{when}"]["sink"] for when in ("before", "half", "most", "after")]
    assert megabytes == sorted(set(megabytes)), "it grows by one at each look"
    assert "ClickHouse stands still" in words[0]


def test_what_never_lands_is_told_as_never(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(outage, "rows_of", lambda settings, sql: [{"runs": 99}])
    assert outage._await_landed(Settings(home=tmp_path), 100, 0.0) == (1, None)
