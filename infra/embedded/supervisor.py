"""How are the processes of a stack started in order, kept alive, and all ended, whatever ends the
supervisor?

Run as `python -m infra.embedded.supervisor SPEC.json [LOCK_FD]` with the file that
`service.to_json` wrote; `infra.embedded.stack` does that for whoever wants a stack. One thread, one
asyncio loop, one task a service:

    wait until all of `after` are ready -> start -> probe until ready -> wait for its end -> again

What runs in the background waits for all the others, is started once and is no part of the stack's
state; it ends with the stack.

What dies is started again at once, and if it keeps dying after 0.5 s, 1 s, ... 5 s; five seconds of
health forget that, and what was killed (SIGKILL) when it was ready is not held against it. Only
before the whole stack was ready for the first time does a service get no more than three tries and
its time limit: then everything is stopped and the reason is left in `run/supervisor.json`.

Nothing outlives the supervisor. A child asks the kernel to be killed with it (Linux), and a reaper,
forked first, holds one end of a pipe: when the pipe closes, however that came about, it kills the
process groups that are left. It also holds the lock of the folder until then, so that a new stack
cannot meet the remains of an old one.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from infra.embedded import forking
from infra.embedded.reaper import Reaper
from infra.embedded.service import Service, StackError, from_json, is_ready

FIRST_TRIES = 3
BACKOFF_MOST_S = 5.0
"""With the start itself a crash then costs less than the ten seconds that it may."""
HEALTHY_S = 5.0
LOG_MOST_BYTES = 10 * 1024 * 1024
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def backoff_s(deaths: int) -> float:
    """How long to wait before the start that follows so many deaths without health in between."""
    return 0.0 if deaths <= 1 else min(BACKOFF_MOST_S, 0.5 * 2 ** min(deaths - 2, 10))


def deaths_in_a_row(before: int, lived_s: float | None, last_exit: int | str | None) -> int:
    """The deaths that the next pause is measured by. `lived_s`: how long it was ready, None where
    it never was.

    Whoever is killed again and again from outside did nothing wrong: pauses that grow would only
    prolong the outage.
    """
    innocent = lived_s is not None and (lived_s > HEALTHY_S or last_exit == -signal.SIGKILL)
    return 1 if innocent else before + 1


def die_with(parent: int) -> None:
    """Run in a child between fork and exec: the kernel kills it when its parent is gone."""
    if hasattr(LIBC, "prctl"):
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # gone before the kernel was asked
            os._exit(1)


@dataclass
class Kept:
    """One service and how it fares."""

    service: Service
    state: str = "waiting"
    process: subprocess.Popen | forking.Forked | None = None
    restarts: int = 0
    since: float = field(default_factory=time.time)
    last_exit: int | str | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self) -> dict:
        alive = self.process is not None and not self.ended.is_set()
        return {
            "pid": self.process.pid if alive else None,
            "state": self.state,
            "kind": self.service.kind,
            "port": self.service.port,
            "restarts": self.restarts,
            "since": self.since,
            "last_exit": self.last_exit,
            "log": self.service.log,
        }


class Supervisor:
    def __init__(self, home: Path, services: list[Service], reaper: Reaper):
        self.home, self.reaper = home, reaper
        self.kept = {service.name: Kept(service) for service in services}
        self.state, self.error = "starting", None
        self.over = asyncio.Event()

    def foreground(self) -> list[Kept]:
        """The services that are kept alive and waited for."""
        return [one for one in self.kept.values() if not one.service.background]

    def tell(self) -> None:
        """Write `run/supervisor.json`; on a full disk the old one stays, and the next change tries
        again.
        """
        known = {"pid": os.getpid(), "state": self.state, "error": self.error, "at": time.time()}
        known["services"] = {one.service.name: one.report() for one in self.foreground()}
        known["background"] = {
            name: one.report() for name, one in self.kept.items() if one.service.background
        }
        part = self.home / "run" / "supervisor.json.part"
        try:
            part.write_text(json.dumps(known, indent=1))
            part.replace(self.home / "run" / "supervisor.json")
        except OSError as error:
            log(f"cannot write run/supervisor.json: {error}")

    def becomes(self, one: Kept, state: str) -> None:
        one.state, one.since = state, time.time()
        (one.ready.set if state == "ready" else one.ready.clear)()
        log(
            f"{one.service.name} is {state}"
            + (f" (exit {one.last_exit})" if state == "down" else "")
        )
        if self.state == "starting" and all(each.state == "ready" for each in self.foreground()):
            self.state = "ready"
        self.tell()

    async def run(self) -> int:
        """Until a signal, the end of an attached caller, or a first start that fails; the exit
        code.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.over.set)
        tasks = [
            asyncio.create_task(self.run_late(one) if one.service.background else self.keep(one))
            for one in self.kept.values()
        ]
        await asyncio.sleep(
            0
        )  # those that wait for nothing are started, and start while this loads
        forking.load_ahead(one.service for one in self.kept.values())
        for task in tasks:
            task.add_done_callback(self.check)
        self.tell()
        await self.over.wait()
        for task in tasks:
            task.cancel()
        self.state = "failed" if self.error else "stopping"
        self.tell()
        stopped = {name: asyncio.Event() for name in self.kept}
        await asyncio.gather(*(self.stop(one, stopped) for one in self.kept.values()))
        self.state = "failed" if self.error else "stopped"
        self.tell()
        return 1 if self.error else 0

    def check(self, task: asyncio.Task) -> None:
        """A keeper ends by being cancelled; if anything else ends it, the stack must not go on
        half-kept.
        """
        if not task.cancelled() and (error := task.exception()):
            failed = (
                f"the supervisor itself failed ({error!r}): see log/supervisor.log, then `up` again"
            )
            self.error = self.error or failed
            self.over.set()

    async def keep(self, one: Kept) -> None:
        deaths = 0
        while True:
            for name in one.service.after:
                await self.kept[name].ready.wait()
            lived_s = None
            if self.spawn(one) and await self.reach_ready(one):
                self.becomes(one, "ready")
                if one.service.once:
                    return
                began = time.monotonic()
                await one.ended.wait()
                lived_s = time.monotonic() - began
            deaths = deaths_in_a_row(deaths, lived_s, one.last_exit)
            if self.state == "starting" and (
                deaths >= FIRST_TRIES or one.last_exit == "not ready in time"
            ):
                self.error = self.why(one, deaths)
                self.becomes(one, "failed")
                self.over.set()
                return
            self.becomes(one, "down")
            await asyncio.sleep(backoff_s(deaths))
            one.restarts += 1
            self.becomes(one, "waiting")

    async def run_late(self, one: Kept) -> None:
        """A background service: one try, when the others have been ready for its while."""
        for other in self.foreground():
            await other.ready.wait()
        await asyncio.sleep(one.service.delay_s)
        if self.spawn(one):
            await one.ended.wait()
        self.becomes(one, "ready" if one.last_exit == 0 else "down")

    def spawn(self, one: Kept) -> bool:
        service, parent = one.service, os.getpid()
        one.ended.clear()
        try:
            with open_log(Path(service.log)) as out:
                one.process = start(service, out, parent)
        except OSError as error:  # no such program, a full disk, no memory
            one.process, one.last_exit = None, str(error)
            one.ended.set()
            return False
        self.reaper.watch(one.process.pid)
        self.becomes(one, "starting")
        return True

    async def reach_ready(self, one: Kept) -> bool:
        """True once its probe says so; False if it ended first, or was killed for taking too long.

        What runs once is ready when it has ended well.
        """
        limit, pause = time.monotonic() + one.service.ready_s, 0.05
        while not one.ended.is_set():
            if (
                not one.service.once
                and await is_ready(one.service.ready)
                and not one.ended.is_set()
            ):
                return True
            if time.monotonic() > limit:
                os.killpg(one.process.pid, signal.SIGKILL)
                await one.ended.wait()
                one.last_exit = "not ready in time"
                return False
            await asyncio.sleep(pause)
            pause = min(0.3, pause * 1.1)
        return one.service.once and one.last_exit == 0

    def reap(self) -> None:
        """On SIGCHLD: note who ended, and end what they left behind in their group."""
        for one in self.kept.values():
            if one.process and not one.ended.is_set() and one.process.poll() is not None:
                one.last_exit = one.process.returncode
                self.reaper.forget(one.process.pid)
                one.ended.set()

    async def stop(self, one: Kept, stopped: dict[str, asyncio.Event]) -> None:
        """SIGTERM once all that need it have stopped, SIGKILL when its time is over."""
        for other in self.kept.values():
            if one.service.name in other.service.after:
                await stopped[other.service.name].wait()
        if one.process and not one.ended.is_set():
            one.process.terminate()
            try:
                await asyncio.wait_for(one.ended.wait(), one.service.drain_s)
            except TimeoutError:
                log(f"{one.service.name} did not stop within {one.service.drain_s} s and is killed")
                os.killpg(one.process.pid, signal.SIGKILL)
                await one.ended.wait()
        stopped[one.service.name].set()
        if one.state != "failed":
            self.becomes(one, "stopped")

    def why(self, one: Kept, deaths: int) -> str:
        service = one.service
        if one.last_exit == "not ready in time":
            what = f"was not ready within {service.ready_s:g} s"
        else:
            what = f"ended {deaths} times before it was ready (last exit: {one.last_exit})"
        return f"{service.name} {what}; see {service.log}, which ends with:\n{last_lines(Path(service.log))}"


def start(service: Service, out: IO[bytes], parent: int) -> subprocess.Popen | forking.Forked:
    """Its process, in a session of its own, which ends with this one. Raises OSError."""
    if service.entry:
        return forking.fork(service, Path(service.log), lambda: die_with(parent))
    return subprocess.Popen(
        service.argv,
        cwd=service.cwd,
        env={**os.environ, **service.env},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
        preexec_fn=lambda: die_with(parent),
    )


def last_lines(path: Path, count: int = 12) -> str:
    if not path.exists():
        return "  (nothing)"
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 8192))
        lines = stream.read().decode(errors="replace").splitlines()[-count:]
    return "\n".join(f"  {line[:300]}" for line in lines) or "  (nothing)"


def open_log(path: Path):
    """The log to append to; one that has grown large becomes `<name>.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_MOST_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def log(text: str) -> None:
    """With the workers' own form of time, so that the logs of a crash can be laid side by side."""
    print(
        datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        text,
        flush=True,
    )


async def supervise(home: Path, services: list[Service], attached: bool, reaper: Reaper) -> int:
    supervisor = Supervisor(home, services, reaper)
    if attached:  # the caller holds the other end of standard input, and never writes to it
        asyncio.get_running_loop().add_reader(0, lambda: os.read(0, 1) or supervisor.over.set())
    return await supervisor.run()


def main(spec: str, lock_fd: str | None = None) -> int:
    home, services, attached = from_json(Path(spec).read_text())
    for folder in ("run", "log"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    if lock_fd is None:  # else the caller took the lock, and this process inherited it
        lock = os.open(home / "run" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return asyncio.run(supervise(home, services, attached, Reaper()))


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (StackError, BlockingIOError) as refused:
        sys.exit(f"supervisor: {refused}")
