"""Describes a service of the embedded stack, and probes whether it is ready.

A service is data, so that a whole stack is one JSON file from the command line to the
supervisor. A probe is data too, a dict of one entry; each is answered within two seconds by one
small exchange:

| probe | ready when |
|---|---|
| `{"kafka": "host:port"}` | the broker answers a metadata request and names itself in it |
| `{"http": url}` | a GET of it is answered with a status below 300 |
| `{"tcp": port}` | something accepts connections on that port of this machine |
| `{"file": path}` | the file is there |

The Kafka exchange is written out by hand (40 bytes): a Kafka client would bring threads and 40 MB
into the supervisor, which must stay small because it forks.
"""

import asyncio
import json
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

METADATA_REQUEST = struct.pack(">hhih4si?", 3, 7, 1, 4, b"weir", 0, False)
PROBE_LIMIT_S = 2.0


class StackError(Exception):
    """An error whose text tells the user what is wrong and what to do about it."""


@dataclass(frozen=True)
class Service:
    """One process that the supervisor keeps alive.

    `after` names services that must be ready before this one is started, `ports` are all that it
    binds (the first is the one to show), `drain_s` is how long it may take to stop after SIGTERM,
    `ready_s` how long to become ready after a start. `env` is added to the supervisor's own
    environment. A service that runs `once` is ready when it has ended with exit code 0, and needs
    no probe. One that runs in the `background` is started `delay_s` after all the others were ready
    for the first time, once: nothing waits for it, and its failure stands in its own log alone.
    With an `entry` (`module:function`) it is forked off the supervisor, which has loaded the
    modules of `preload`; `argv` then is the equivalent command.
    """

    name: str
    argv: tuple[str, ...]
    kind: str
    ready: dict[str, str | int] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    log: str | None = None
    after: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    drain_s: float = 10.0
    ready_s: float = 60.0
    once: bool = False
    background: bool = False
    delay_s: float = 0.0
    entry: str = ""
    preload: tuple[str, ...] = ()

    @property
    def port(self) -> int | None:
        return self.ports[0] if self.ports else None


def to_json(home: Path, services: Iterable[Service], attached: bool = False) -> str:
    """The supervisor's specification; an `attached` one ends when its standard input ends."""
    return json.dumps(
        {"home": str(home), "attached": attached, "services": [asdict(s) for s in services]}
    )


def from_json(text: str) -> tuple[Path, list[Service], bool]:
    """The inverse of `to_json`: home, services, attached. Raises StackError as `in_order` does."""
    spec = json.loads(text)
    services = [_service(one) for one in spec["services"]]
    in_order(services)
    return Path(spec["home"]), services, spec["attached"]


def _service(fields: dict[str, Any]) -> Service:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Service(**values)


def in_order(services: Iterable[Service]) -> list[Service]:
    """Services in starting order. Raises StackError for unknown or double names and for cycles."""
    left = list(services)
    ordered = []
    names = [service.name for service in left]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise StackError(
            f"two services are named {', '.join(sorted(doubled))}: give each its own name"
        )
    for service in left:
        if unknown := set(service.after) - set(names):
            raise StackError(
                f"{service.name} waits for {', '.join(sorted(unknown))}: add it, "
                "or remove it from `after`"
            )
    while left:
        placed = {service.name for service in ordered}
        free = [service for service in left if placed.issuperset(service.after)]
        if not free:
            ring = ", ".join(service.name for service in left)
            raise StackError(
                f"{ring} wait for each other: take one of them out of another's `after`"
            )
        ordered += free
        left = [service for service in left if service not in free]
    return ordered


async def is_ready(probe: dict[str, str | int]) -> bool:
    """Probe once; a failure of any kind means "not yet"."""
    [(kind, target)] = probe.items()
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            return await PROBES[kind](target)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        return False


async def _exchange(host: str, port: int, request: bytes, answer):
    """Send a request over a new connection; returns the result of `answer(reader)`."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        return await answer(reader)
    finally:
        writer.close()


async def _kafka(target: str) -> bool:
    host, port = target.rsplit(":", 1)

    async def brokers(reader) -> bool:
        await reader.readexactly(8)  # length of the reply, number of the request
        _throttle_ms, count = struct.unpack(">ii", await reader.readexactly(8))
        return count > 0  # a broker that is still fenced is not in the list

    return await _exchange(
        host, int(port), struct.pack(">i", len(METADATA_REQUEST)) + METADATA_REQUEST, brokers
    )


async def _http(url: str) -> bool:
    at = urlsplit(url)
    path = (at.path or "/") + (f"?{at.query}" if at.query else "")
    request = f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n\r\n".encode()

    async def status(reader) -> int:
        return int((await reader.readline()).split(b" ")[1])

    try:
        return await _exchange(at.hostname or "127.0.0.1", at.port or 80, request, status) < 300
    except IndexError:  # closed without a response: it listens, and does not serve yet
        return False


async def _tcp(port: int) -> bool:
    async def connected(_reader) -> bool:
        return True

    return await _exchange("127.0.0.1", int(port), b"", connected)


async def _file(path: str) -> bool:
    return Path(path).exists()


PROBES = {"kafka": _kafka, "http": _http, "tcp": _tcp, "file": _file}
