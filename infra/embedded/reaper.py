"""Kills the process groups of a stack when its supervisor was killed with SIGKILL.

The reaper is a fork of the supervisor, made before it has threads or children. It reads process
groups from a pipe: `+123` to watch, `-123` to forget. Nobody but the supervisor holds the writing
end, so the end of the file is the supervisor's end; what is still watched then is killed. Whatever
files the supervisor has open at the fork (its lock) stay held until that is done.
"""

import os
import signal
import time

GONE_LIMIT_S = 2.0


def end(group: int) -> bool:
    """Kill a process group; returns whether it was empty already."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of the dead
        return True
    return False


class Reaper:
    """The supervisor's side: tells the reaper which process groups to watch."""

    def __init__(self) -> None:
        self.groups: set[int] = set()
        self.pipe = fork_reader()

    def watch(self, group: int) -> None:
        self.groups.add(group)
        self._write(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Kill the rest of a group whose leader ended, and watch it no longer."""
        end(group)
        self.groups.discard(group)
        self._write(f"-{group}\n")

    def _write(self, line: str) -> None:
        try:
            os.write(self.pipe, line.encode())
        except BrokenPipeError:  # the reader was killed: make a new one and tell it everything
            os.close(self.pipe)
            self.pipe = fork_reader()
            os.write(self.pipe, "".join(f"+{group}\n" for group in self.groups).encode())


def fork_reader() -> int:
    """Start the reaper's process; returns the writing end of its pipe."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(reading)
        return writing
    try:
        os.close(writing)
        os.setsid()  # a Ctrl-C meant for the terminal's group must not end it
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        read_until_end(reading)
    finally:
        os._exit(0)


def read_until_end(reading: int) -> None:
    groups: set[int] = set()
    with os.fdopen(reading) as lines:
        for line in lines:
            (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    # A dying process holds its ports for a while; the lock stays held as long.
    limit = time.monotonic() + GONE_LIMIT_S
    while not all([end(group) for group in groups]) and time.monotonic() < limit:
        time.sleep(0.005)
