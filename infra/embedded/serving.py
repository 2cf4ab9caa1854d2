"""Owns the data folder and the port of an embedded engine, and shuts it down cleanly.

Both embedded engines are started the same way: take the folder, bind the port, open the engine,
serve, close.
"""

import errno
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAIN_S = 30


@contextmanager
def owned(home: Path) -> Iterator[Path]:
    """Own a data folder until the block ends. Raises SystemExit if another process owns it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise SystemExit(
            f"Cannot use the data folder {home}: {error.strerror}. {_remedy(error)}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield home
    except BlockingIOError as error:
        owner = os.pread(lock, 20, 0).decode() or "unknown"
        raise SystemExit(
            f"The data folder {home} is owned by another process (pid {owner}). "
            "Stop that one first, or choose another --home."
        ) from error
    except OSError as error:
        raise SystemExit(f"Cannot write in {home}: {error.strerror}. {_remedy(error)}") from error
    finally:
        os.close(lock)


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to the port (0: any free one) and not yet listening. Raises SystemExit."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be named: asyncio sets TCP_NODELAY only then, and without it each response
    # waits 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise SystemExit(
            f"Port {port} on {host} cannot be used ({error.strerror}). "
            "Stop what listens there, or choose another --port."
        ) from error
    return sock


def serve(app, sock: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, finish the requests that run, and return.

    uvicorn raises the signal again once it is done, which would kill the process before its engine
    is closed: so the signal is given a harmless handler first.
    """
    import uvicorn  # slow to load, and whoever only asks for an engine's command does not need it

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=75,
    )
    uvicorn.Server(config).run(sockets=[sock])


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some disk space and start again."
    return "Choose a folder that this user may write to."
