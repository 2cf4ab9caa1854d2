"""The supervisor starts in order, restarts, refuses clearly and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infra.embedded import stack
from infra.embedded.service import Service, StackError, from_json, in_order, to_json
from infra.embedded.supervisor import (
    BACKOFF_MOST_S,
    backoff_s,
    deaths_in_a_row,
    last_lines,
    open_log,
)
from tests.support.stacks import READY_THEN_WAIT, alive, small, until, up

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

WITH_A_CHILD = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + READY_THEN_WAIT
ORDERLY = """
import pathlib, signal, sys, time
mark = pathlib.Path(sys.argv[1])
def end(*_):
    with open(mark.with_name("ends"), "a") as ends: ends.write(mark.stem + " ")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
mark.touch()
while True: time.sleep(600)
"""


def service_of(home: Path, name: str) -> dict:
    return stack.status(home)["services"][name]


@pytest.mark.parametrize(
    "deaths, wait_s", [(0, 0), (1, 0), (2, 0.5), (3, 1), (5, 4), (6, BACKOFF_MOST_S), (10_000, 5)]
)
def test_backoff_grows_to_its_limit(deaths, wait_s):
    assert backoff_s(deaths) == wait_s


@pytest.mark.parametrize(
    "lived_s, last_exit, deaths",
    [
        (0.1, -signal.SIGKILL, 1),  # killed at work: at once again, however often
        (0.1, 3, 5),
        (0.1, -signal.SIGSEGV, 5),
        (6, 3, 1),
        (None, -signal.SIGKILL, 5),  # it never became ready
        (None, "not ready in time", 5),
    ],
)
def test_only_what_dies_of_itself_is_made_to_wait(lived_s, last_exit, deaths):
    assert deaths_in_a_row(4, lived_s, last_exit) == deaths


def test_a_spec_travels_as_json(tmp_path):
    services = [
        small(tmp_path, "a", env={"K": "v"}, ports=(1, 2)),
        small(tmp_path, "b", after=("a",)),
    ]
    assert from_json(to_json(tmp_path, services, attached=True)) == (tmp_path, services, True)


@pytest.mark.parametrize(
    "afters, says",
    [
        ({"a": ("b",), "b": ("a",)}, "wait for each other"),
        ({"a": ("nobody",)}, "nobody"),
    ],
)
def test_what_cannot_be_ordered_is_refused(tmp_path, afters, says):
    with pytest.raises(StackError, match=says):
        in_order([small(tmp_path, name, after=after) for name, after in afters.items()])


def test_two_of_a_name_are_refused(tmp_path):
    with pytest.raises(StackError, match="named a"):
        in_order([small(tmp_path, "a"), small(tmp_path, "a")])


def test_dependents_start_later_and_stop_earlier(tmp_path):
    seen = []
    services = [
        small(tmp_path, "last", ORDERLY, after=("middle",)),
        small(tmp_path, "middle", ORDERLY, after=("first",)),
        small(tmp_path, "first", ORDERLY),
    ]
    handle = stack.start(tmp_path, services, attached=True)
    stack.wait_ready(
        tmp_path, lambda known: seen.append({n: s["state"] for n, s in known["services"].items()})
    )
    for states in seen:
        if states["middle"] != "waiting":
            assert states["first"] == "ready"
        if states["last"] != "waiting":
            assert states["middle"] == "ready"
    handle.close()
    assert (tmp_path / "ends").read_text().split() == ["last", "middle", "first"]
    assert stack.status(tmp_path)["state"] == "down"


def ready_again(home, name, killed):
    now = service_of(home, name)
    return now if now["state"] == "ready" and now["pid"] != killed else None


def test_what_dies_is_started_again_and_counted(tmp_path):
    with up(tmp_path, small(tmp_path, "a")):
        for times in range(1, 5):  # with pauses that grow it would take 3.5 s and more
            killed = stack.kill(tmp_path, "a")
            again = until(lambda killed=killed: ready_again(tmp_path, "a", killed))
            assert (again["restarts"], again["last_exit"]) == (times, -signal.SIGKILL)


def test_what_runs_in_the_background_starts_last_and_holds_nothing_up(tmp_path):
    found = "import pathlib, sys; raise SystemExit(int(pathlib.Path(sys.argv[1]).exists()))"
    last = small(tmp_path, "last", "import time; time.sleep(600)", ready={}, background=True)
    failed = small(tmp_path, "failed", "raise SystemExit(3)", ready={}, background=True)
    looked = small(tmp_path, "a", found, ready={}, background=True)  # its mark is the service's
    with up(tmp_path, last, failed, replace(looked, name="looked"), small(tmp_path, "a")):
        assert stack.status(tmp_path)["services"].keys() == {"a"}
        for name, code in (("failed", 3), ("looked", 1)):
            until(lambda name=name: background(tmp_path, name)["state"] == "down")
            assert background(tmp_path, name)["last_exit"] == code
        pid = until(lambda: background(tmp_path, "last")["pid"])
        assert stack.status(tmp_path)["state"] == "ready"
        assert alive(pid)
    assert not alive(pid)
    assert background(tmp_path, "last")["pid"] is None


def background(home, name: str) -> dict:
    return stack.status(home)["background"][name]


def test_what_runs_once_is_ready_when_it_has_ended(tmp_path):
    once = small(
        tmp_path, "once", "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", once=True
    )
    with up(tmp_path, once, small(tmp_path, "next", after=("once",))):
        assert service_of(tmp_path, "once")["state"] == "ready"
        assert service_of(tmp_path, "once")["pid"] is None


@pytest.mark.parametrize(
    "code, says",
    [
        ("raise SystemExit('the reason')", "ended 3 times.*the reason"),
        (
            "import time; print('so far', flush=True); time.sleep(600)",
            "was not ready within 0.5 s.*so far",
        ),
    ],
)
def test_a_first_start_that_fails_ends_everything_and_says_why(tmp_path, code, says):
    with up(
        tmp_path, small(tmp_path, "good"), small(tmp_path, "bad", code, ready_s=0.5), wait=False
    ):
        with pytest.raises(StackError, match=re.compile(rf"^bad {says}", re.DOTALL)) as refusal:
            stack.wait_ready(tmp_path)
        assert str(tmp_path / "log" / "bad.log") in str(refusal.value)
        assert not stack.running(tmp_path)
        assert stack.status(tmp_path)["services"]["good"]["pid"] is None


def test_a_program_that_is_not_there_is_named(tmp_path):
    lost = Service("lost", ("no-such-program",), "test", ready={"tcp": 1})
    with up(tmp_path, lost, wait=False), pytest.raises(StackError, match="no-such-program"):
        stack.wait_ready(tmp_path)


def test_killed_with_9_it_leaves_no_orphan_and_frees_the_folder(tmp_path):
    services = [small(tmp_path, "a", WITH_A_CHILD), small(tmp_path, "b", STUBBORN)]
    with up(tmp_path, *services) as handle:
        until((tmp_path / "a.ready").read_text)
        pids = [service_of(tmp_path, "a")["pid"], service_of(tmp_path, "b")["pid"]]
        pids.append(int((tmp_path / "a.ready").read_text()))
        assert all(map(alive, pids))
        os.kill(handle.process.pid, signal.SIGKILL)
        until(lambda: not any(map(alive, pids)), limit_s=2)
        until(lambda: not stack.running(tmp_path), limit_s=2)
        assert stack.status(tmp_path)["services"]["a"] == service_of(tmp_path, "a") | {
            "pid": None,
            "state": "stopped",
        }


def test_what_a_service_started_ends_with_it(tmp_path):
    with up(tmp_path, small(tmp_path, "a", WITH_A_CHILD)):
        child = int(until((tmp_path / "a.ready").read_text))
        stack.kill(tmp_path, "a")
        until(lambda: not alive(child), limit_s=2)


def test_an_attached_stack_ends_with_its_caller(tmp_path):
    spec = to_json(tmp_path, [small(tmp_path, "a", log=str(tmp_path / "a.log"))], attached=True)
    caller = (
        "import sys, time; from pathlib import Path; from infra.embedded import stack;"
        "from infra.embedded.service import from_json;"
        f"stack.start(Path({str(tmp_path)!r}), from_json({spec!r})[1], attached=True); "
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", caller], cwd=stack.PROJECT)
    pid = until(lambda: stack.status(tmp_path)["services"].get("a", {}).get("pid"))
    process.kill()
    process.wait()
    until(lambda: not alive(pid) and not stack.running(tmp_path), limit_s=5)


def test_what_does_not_stop_in_time_is_killed(tmp_path):
    with up(tmp_path, small(tmp_path, "a", STUBBORN, drain_s=0.2)) as handle:
        pid = service_of(tmp_path, "a")["pid"]
        handle.close()
        assert not alive(pid)


def test_a_second_start_in_the_same_folder_is_refused(tmp_path):
    with up(tmp_path, small(tmp_path, "a")) as handle:
        before = service_of(tmp_path, "a")["pid"]
        with pytest.raises(
            StackError, match=rf"running in .* \(process {handle.process.pid}\).*weir down"
        ):
            stack.start(tmp_path, [small(tmp_path, "a")])
        assert service_of(tmp_path, "a")["pid"] == before


def test_a_port_in_use_is_named_and_nothing_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port}, which b needs, is in use"):
            stack.start(tmp_path, [small(tmp_path, "a"), small(tmp_path, "b", ports=(port,))])
    assert not stack.running(tmp_path)
    assert not (tmp_path / "a.ready").exists()


def test_a_disk_almost_full_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stack, "FREE_LEAST_BYTES", 10**18)
    with pytest.raises(StackError, match="free some space"):
        stack.start(tmp_path, [small(tmp_path, "a")])
    assert not stack.running(tmp_path)


def test_a_full_disk_while_writing_is_one_sentence():
    with pytest.raises(StackError, match="disk is full"):
        stack.start(Full("/dev/shm/weir-full"), [])


class Full(type(Path())):
    """A folder on a disk that takes nothing more."""

    def resolve(self, strict=False):
        return self

    def mkdir(self, *_args, **_more):
        raise OSError(28, "No space left on device")

    def __truediv__(self, _name):
        return self


def test_nothing_runs_where_nothing_was_started(tmp_path):
    assert stack.status(tmp_path)["state"] == "down"
    stack.stop(tmp_path)
    with pytest.raises(StackError, match="has no process"):
        stack.kill(tmp_path, "a")


def test_the_spec_is_only_for_its_owner(tmp_path):
    with up(tmp_path, small(tmp_path, "a", env={"PASSWORD": "x"})):
        path = tmp_path / "run" / "spec.json"
        assert path.stat().st_mode & 0o077 == 0
        assert json.loads(path.read_text())["services"][0]["env"] == {"PASSWORD": "x"}


def test_a_large_log_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("infra.embedded.supervisor.LOG_MOST_BYTES", 3)
    for text in (b"abcd", b"e", b"f"):
        with open_log(tmp_path / "x.log") as out:
            out.write(text)
    assert (tmp_path / "x.log.1").read_bytes() == b"abcd"
    assert last_lines(tmp_path / "x.log") == "  ef"
