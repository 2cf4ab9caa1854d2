"""Starts an embedded ClickHouse or Qdrant for a test."""

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from infra.embedded.clickhouse import server as clickhouse
from infra.embedded.qdrant import server as qdrant

START_S = 60
STOP_S = 40
_ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """A started engine process."""

    url: str
    port: int
    process: subprocess.Popen

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing flushed."""
        self.process.kill()
        self.process.wait(STOP_S)


def start(engine: ModuleType, home: Path, port: int = 0) -> Server:
    """Start an engine on a folder and wait until it is ready. Raises RuntimeError with its log."""
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log = home / "engine.log"
    with open(log, "ab") as out:
        process = subprocess.Popen(
            engine.argv(home, port), cwd=_ROOT, stdout=out, stderr=subprocess.STDOUT
        )
    server = Server(f"http://127.0.0.1:{port}", port, process)
    deadline = time.monotonic() + START_S
    while not _ready(server.url + engine.READY_PATH):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"{engine.__name__} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)
    return server


def stop(server: Server) -> int:
    """SIGTERM it and wait; returns its exit code."""
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(STOP_S)


@contextmanager
def running(engine: ModuleType, home: Path, port: int = 0) -> Iterator[str]:
    """The URL of an engine that runs for the length of the block."""
    server = start(engine, home, port)
    try:
        yield server.url
    finally:
        if server.process.poll() is None:
            stop(server)


def running_clickhouse(home: Path, port: int = 0) -> AbstractContextManager[str]:
    """An embedded ClickHouse for the length of a `with` block, which gets its URL."""
    return running(clickhouse, home, port)


def running_qdrant(home: Path, port: int = 0) -> AbstractContextManager[str]:
    """An embedded Qdrant for the length of a `with` block, which gets its URL."""
    return running(qdrant, home, port)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
