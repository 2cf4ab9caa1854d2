"""Starts a worker by forking the supervisor, which has loaded the worker's libraries.

A child has everything in memory already, shared with its siblings. Loading took 1.2 s of processor
time a worker, seven times at a start and once after every kill; a fork takes 10 ms. It is safe
because the supervisor has one thread and makes no client of any engine; a library that starts
threads when it is loaded (numpy's) must not be among what is loaded ahead.
"""

import asyncio
import gc
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from infra.embedded.service import Service

INHERITED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FILES_MOST = 4096


class ForkedProcess:
    """A forked child, with what the supervisor uses of a `subprocess.Popen`."""

    def __init__(self, pid: int):
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def load_ahead(services: Iterable[Service]) -> None:
    """Import the modules that the services to be forked need."""
    for module in dict.fromkeys(name for service in services for name in service.preload):
        importlib.import_module(module)
    gc.collect()
    # Loaded modules stay: the collector need not touch, and so copy, their pages in every child.
    gc.freeze()


def fork(service: Service, log: Path, in_child: Callable[[], None]) -> ForkedProcess:
    """Run `service.entry` (`module:function`) in a child, given the words after `-m module`."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return ForkedProcess(pid)
    code = 1
    try:
        _leave_the_parent(log)
        in_child()
        os.environ.update(service.env)
        os.chdir(service.cwd or ".")
        module, _, name = service.entry.partition(":")
        code = _outcome(getattr(importlib.import_module(module), name), list(service.argv[3:]))
    except BaseException:  # a child must never return into the supervisor's loop
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _outcome(run: Callable[[list[str]], None], words: list[str]) -> int:
    """The exit code of what was run."""
    try:
        run(words)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return 0


def _leave_the_parent(log: Path) -> None:
    """Give the child its own session, signals, files and event loop."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in INHERITED:
        signal.signal(number, signal.SIG_DFL)
    asyncio._set_running_loop(None)
    asyncio.set_event_loop(None)
    os.closerange(3, FILES_MOST)
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.closerange(3, 8)
