"""Starts, watches, kills and stops an embedded stack.

The stack is the supervisor's process; the command line, the tests and the chaos run control it with
these functions. They share one folder, the stack's home: `run/lock` is held as long as any process
of the stack lives, `run/supervisor.json` has its status, `log/<name>.log` the output of a service.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from infra.embedded.service import Service, StackError, in_order, to_json

PROJECT = Path(__file__).resolve().parents[2]
FREE_LEAST_BYTES = 1024**3
POLL_S = 0.03


@dataclass
class Handle:
    """A started supervisor; an attached one ends when `close` is called or this process ends."""

    home: Path
    process: subprocess.Popen

    def close(self, at_once: bool = False) -> None:
        """Stop the stack and wait until it is gone; `at_once` kills it, for data nobody needs."""
        if at_once:
            self.process.kill()
        elif self.process.stdin:
            self.process.stdin.close()
        self.process.wait()
        stop(self.home)


def start(home: Path, services: Iterable[Service], attached: bool = False) -> Handle:
    """Start a supervisor of these services in `home`, detached from this process or `attached`.

    Returns at once: `wait_ready` waits for the services. Raises StackError, with nothing started,
    if a stack runs in that folder already, a port is taken, or less than 1 GiB of the disk is free.
    """
    home = home.resolve()
    services = [
        replace(s, log=s.log or str(home / "log" / f"{s.name}.log")) for s in in_order(services)
    ]
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        with locked(home) as lock:
            check_disk(home)
            check_ports(services)
            return Handle(home, _spawn(home, to_json(home, services, attached), attached, lock))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StackError(
                f"the disk is full: free at least 1 GiB where {home} is, then try again"
            ) from error
        raise


def _spawn(home: Path, spec: str, attached: bool, lock: int) -> subprocess.Popen:
    (home / "log").mkdir(exist_ok=True)
    (home / "run" / "supervisor.json").unlink(missing_ok=True)
    path = home / "run" / "spec.json"
    path.touch(mode=0o600)  # services may carry credentials in their environment
    path.write_text(spec)
    with (home / "log" / "supervisor.log").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.embedded.supervisor", str(path), str(lock)],
            cwd=PROJECT,
            stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=(lock,),
            start_new_session=True,
        )


@contextlib.contextmanager
def locked(home: Path, patience_s: float = 0.3) -> Iterator[int]:
    """Hold the folder's lock; a process that is given the descriptor holds it as well."""
    lock = os.open(home / "run" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    limit = time.monotonic() + patience_s  # a status check holds it for a moment
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > limit:
                    raise StackError(
                        f"a stack is running in {home} already (process {_read(home).get('pid')}): "
                        "use it, or end it with `./weir down` first"
                    ) from None
                time.sleep(POLL_S)
        yield lock
    finally:
        os.close(lock)


def check_disk(home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < FREE_LEAST_BYTES:
        raise StackError(
            f"only {free / 1e6:.0f} MB are free where {home} is, and the stack needs 1 GiB: "
            "free some space, then try again"
        )


def check_ports(services: Iterable[Service]) -> None:
    """Raises StackError for the first port that another program listens on."""
    for service in services:
        for port in service.ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    why = "is in use by another program: end it, or"
                    if error.errno != errno.EADDRINUSE:
                        why = f"fails ({error}):"
                    raise StackError(
                        f"port {port}, which {service.name} needs, {why} "
                        "give Weir another in its settings"
                    ) from error


def running(home: Path) -> bool:
    """Whether any process of a stack in this folder lives."""
    path = home / "run" / "lock"
    if not path.exists():
        return False
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def status(home: Path) -> dict:
    """The contents of `run/supervisor.json`, with state "down" where nothing runs:

    {"pid", "state": starting|ready|stopping|stopped|failed|down, "error": sentence or None, "at":
    s, "services": {name: {"pid", "state": waiting|starting|ready|down|failed|stopped, "kind",
    "port", "restarts", "since": s, "last_exit": code, reason or None, "log": path}}, "background":
    the same of what runs in the background}. Times are seconds since 1970.
    """
    known = {
        "pid": None,
        "state": "down",
        "error": None,
        "at": time.time(),
        "services": {},
        "background": {},
    } | _read(home)
    if not running(home):
        known["pid"] = None
        known["state"] = "failed" if known["state"] == "failed" else "down"
        for one in [*known["services"].values(), *known["background"].values()]:
            one["pid"] = None
            one["state"] = one["state"] if one["state"] == "failed" else "stopped"
    return known


def wait_ready(
    home: Path, progress: Callable[[dict], None] = lambda known: None, timeout_s: float = 180.0
) -> dict:
    """Wait until every service is ready; returns the status, each change of which `progress` gets.

    Raises StackError if a service fails (with the end of its log), or if time runs out: the stack
    is stopped then.
    """
    limit = time.monotonic() + timeout_s
    last = None
    while True:
        known = _read(home)
        if known and known != last:
            last = known
            progress(known)
        if known.get("state") == "ready":
            return known
        if not running(home):
            ended = f"the stack ended while it started: see {home / 'log' / 'supervisor.log'}"
            raise StackError(known.get("error") or ended)
        if time.monotonic() > limit:
            late = ", ".join(
                name for name, one in known.get("services", {}).items() if one["state"] != "ready"
            )
            stop(home)
            raise StackError(
                f"not ready within {timeout_s:g} s: {late or 'anything'}; "
                f"see the logs in {home / 'log'}"
            )
        time.sleep(POLL_S)


def stop(home: Path) -> None:
    """Stop the stack in this folder, dependents first; returns when all processes are gone."""
    if not running(home):
        return
    drains = json.loads((home / "run" / "spec.json").read_text())["services"]
    patience_s = 10 + sum(one["drain_s"] for one in drains)
    if _wait_gone(home, signal.SIGTERM, patience_s) or _wait_gone(home, signal.SIGKILL, 10):
        return
    raise StackError(
        f"the stack in {home} does not end: look for its processes in run/supervisor.json"
    )


def _wait_gone(home: Path, number: int, patience_s: float) -> bool:
    """Signal the supervisor once its pid is known, and wait until the lock is free."""
    limit = time.monotonic() + patience_s
    signalled = False
    while running(home):
        pid = _read(home).get("pid")
        if pid and not signalled:
            with contextlib.suppress(ProcessLookupError):  # it is gone, and the reaper is at work
                os.kill(pid, number)
            signalled = True
        if time.monotonic() > limit:
            return False
        time.sleep(POLL_S)
    return True


def kill(home: Path, service: str, number: int = signal.SIGKILL) -> int:
    """Send a signal to a service's process; returns its pid. Raises StackError if there is none."""
    one = status(home)["services"].get(service)
    if one is None or one["pid"] is None:
        raise StackError(f"{service} has no process now: `./weir status` shows what runs")
    os.kill(one["pid"], number)
    return one["pid"]


def _read(home: Path) -> dict:
    try:
        return json.loads((home / "run" / "supervisor.json").read_text())
    except FileNotFoundError:
        return {}
