"""Starts the processes of a stack in order, restarts them, and ends them all when it ends.

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
"""With the start itself, a crash then costs less than the allowed ten seconds."""
HEALTHY_S = 5.0
LOG_MOST_BYTES = 10 * 1024 * 1024
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def backoff_s(deaths: int) -> float:
    """The pause before a start that follows so many exits without a healthy period."""
    return 0.0 if deaths <= 1 else min(BACKOFF_MOST_S, 0.5 * 2 ** min(deaths - 2, 10))


def deaths_in_a_row(before: int, lived_s: float | None, last_exit: int | str | None) -> int:
    """The count of exits that the next pause depends on. `lived_s`: how long it was ready, if ever.

    A service that is killed from outside did nothing wrong: growing pauses would only prolong the
    outage.
    """
    innocent = lived_s is not None and (lived_s > HEALTHY_S or last_exit == -signal.SIGKILL)
    return 1 if innocent else before + 1


def die_with(parent: int) -> None:
    """Ask the kernel, in a child between fork and exec, to kill it when its parent is gone."""
    if hasattr(LIBC, "prctl"):
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # gone before the kernel was asked
            os._exit(1)


@dataclass
class ManagedService:
    """A service with its process and its state."""

    service: Service
    state: str = "waiting"
    process: subprocess.Popen | forking.ForkedProcess | None = None
    restarts: int = 0
    since: float = field(default_factory=time.time)
    last_exit: int | str | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self) -> dict:
        process = None if self.ended.is_set() else self.process
        return {
            "pid": process.pid if process else None,
            "state": self.state,
            "kind": self.service.kind,
            "port": self.service.port,
            "restarts": self.restarts,
            "since": self.since,
            "last_exit": self.last_exit,
            "log": self.service.log,
        }


class Supervisor:
    """The services of one stack, one asyncio task for each."""

    def __init__(self, home: Path, services: list[Service], reaper: Reaper):
        self.home = home
        self.reaper = reaper
        self.services = {service.name: ManagedService(service) for service in services}
        self.state = "starting"
        self.error: str | None = None
        self.over = asyncio.Event()

    def foreground(self) -> dict[str, ManagedService]:
        """The services that are restarted and waited for, by name."""
        return {name: one for name, one in self.services.items() if not one.service.background}

    def write_status(self) -> None:
        """Write `run/supervisor.json`; on a full disk the old one stays until the next change."""
        known = {"pid": os.getpid(), "state": self.state, "error": self.error, "at": time.time()}
        waited_for = self.foreground()
        known["services"] = {name: one.report() for name, one in waited_for.items()}
        known["background"] = {
            name: one.report() for name, one in self.services.items() if name not in waited_for
        }
        part = self.home / "run" / "supervisor.json.part"
        try:
            part.write_text(json.dumps(known, indent=1))
            part.replace(self.home / "run" / "supervisor.json")
        except OSError as error:
            log(f"cannot write run/supervisor.json: {error}")

    def becomes(self, one: ManagedService, state: str) -> None:
        one.state = state
        one.since = time.time()
        (one.ready.set if state == "ready" else one.ready.clear)()
        log(
            f"{one.service.name} is {state}"
            + (f" (exit {one.last_exit})" if state == "down" else "")
        )
        if self.state == "starting" and all(
            each.state == "ready" for each in self.foreground().values()
        ):
            self.state = "ready"
        self.write_status()

    async def run(self) -> int:
        """Run until a signal, the end of an attached caller, or a failed first start."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.over.set)
        tasks = [
            asyncio.create_task(self.run_late(one) if one.service.background else self.keep(one))
            for one in self.services.values()
        ]
        # Services without `after` are started now, and start while the modules load.
        await asyncio.sleep(0)
        forking.load_ahead(one.service for one in self.services.values())
        for task in tasks:
            task.add_done_callback(self.check)
        self.write_status()
        await self.over.wait()
        for task in tasks:
            task.cancel()
        self.state = "failed" if self.error else "stopping"
        self.write_status()
        stopped = {name: asyncio.Event() for name in self.services}
        await asyncio.gather(*(self.stop(one, stopped) for one in self.services.values()))
        self.state = "failed" if self.error else "stopped"
        self.write_status()
        return 1 if self.error else 0

    def check(self, task: asyncio.Task) -> None:
        """Stop the stack when a service's task ended by anything but being cancelled."""
        if not task.cancelled() and (error := task.exception()):
            failed = f"the supervisor failed ({error!r}): see log/supervisor.log, then `up` again"
            self.error = self.error or failed
            self.over.set()

    async def keep(self, one: ManagedService) -> None:
        """Start a service whenever it is down, for as long as the stack runs."""
        deaths = 0
        while True:
            for name in one.service.after:
                await self.services[name].ready.wait()
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

    async def run_late(self, one: ManagedService) -> None:
        """Run a background service: one try, once the others have been ready for its delay."""
        for other in self.foreground().values():
            await other.ready.wait()
        await asyncio.sleep(one.service.delay_s)
        if self.spawn(one):
            await one.ended.wait()
        self.becomes(one, "ready" if one.last_exit == 0 else "down")

    def spawn(self, one: ManagedService) -> bool:
        service = one.service
        parent = os.getpid()
        one.ended.clear()
        try:
            with open_log(log_of(service)) as out:
                one.process = start(service, out, parent)
        except OSError as error:  # no such program, a full disk, no memory
            one.process = None
            one.last_exit = str(error)
            one.ended.set()
            return False
        self.reaper.watch(one.process.pid)
        self.becomes(one, "starting")
        return True

    async def reach_ready(self, one: ManagedService) -> bool:
        """True once it is ready; False if it ended first, or was killed for taking too long.

        A service that runs once is ready when it has ended with exit code 0.
        """
        limit = time.monotonic() + one.service.ready_s
        pause = 0.05
        while not one.ended.is_set():
            if (
                not one.service.once
                and await is_ready(one.service.ready)
                and not one.ended.is_set()
            ):
                return True
            if one.process and time.monotonic() > limit:
                os.killpg(one.process.pid, signal.SIGKILL)
                await one.ended.wait()
                one.last_exit = "not ready in time"
                return False
            await asyncio.sleep(pause)
            pause = min(0.3, pause * 1.1)
        return one.service.once and one.last_exit == 0

    def reap(self) -> None:
        """On SIGCHLD: note which services ended, and kill the rest of their process groups."""
        for one in self.services.values():
            if one.process and not one.ended.is_set() and one.process.poll() is not None:
                one.last_exit = one.process.returncode
                self.reaper.forget(one.process.pid)
                one.ended.set()

    async def stop(self, one: ManagedService, stopped: dict[str, asyncio.Event]) -> None:
        """Send SIGTERM once all dependents have stopped, and SIGKILL when the time is over."""
        for other in self.services.values():
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

    def why(self, one: ManagedService, deaths: int) -> str:
        service = one.service
        if one.last_exit == "not ready in time":
            what = f"was not ready within {service.ready_s:g} s"
        else:
            what = f"ended {deaths} times before it was ready (last exit: {one.last_exit})"
        path = log_of(service)
        return f"{service.name} {what}; see {path}, which ends with:\n{last_lines(path)}"


def log_of(service: Service) -> Path:
    """The file that a service's output goes to; `stack.start` chooses one where none is named."""
    if service.log is None:
        raise StackError(f"{service.name} has no log: name a file in the specification")
    return Path(service.log)


def start(
    service: Service, out: IO[bytes], parent: int
) -> subprocess.Popen | forking.ForkedProcess:
    """Start a process in a session of its own, which ends with this one. Raises OSError."""
    if service.entry:
        return forking.fork(service, log_of(service), lambda: die_with(parent))
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
    """Open a log for appending; a large one becomes `<name>.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_MOST_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def log(text: str) -> None:
    """Print a line with the time in the workers' format."""
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
