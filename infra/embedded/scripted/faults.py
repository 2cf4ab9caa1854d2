"""A model provider that fails on purpose: one path a fault, over both protocols.

`python -m infra.embedded.scripted.faults --port N` serves `/FAULT/chat/completions` and
`/FAULT/messages`, plain and streamed: the path in a model's `base_url` chooses the fault. It writes
to raw sockets, so that it can break the HTTP protocol too.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.embedded.scripted.fault_answers import EVENT_STREAM, events, head, message, reply, wire

STATUSES = {
    "400": 400,
    "401": 401,
    "429": 429,
    "429_retry_after": 429,
    "500": 500,
    "502": 502,
    "503": 503,
    "529": 529,
}
FAULTS = (
    "reset",
    "hang",
    "slow_first_token",
    "slow_stream",
    "truncated",
    "truncated_first",
    "malformed",
    "malformed_first",
    "overloaded",
    "overloaded_first",
    *STATUSES,
    "wrong_content_type",
    "empty",
    "oversize",
)
MEGABYTE = 1024 * 1024
OVERLOADED = wire({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
BROKEN_OFF = {
    "truncated": b"",
    "malformed": b'data: {"choices": [{"delta"\n\n',
    "overloaded": b"event: error\ndata: " + OVERLOADED + b"\n\n",
}
"""The last bytes of a stream that ends too early."""
RETRY_AFTER_S = 1


@dataclass
class Faulty:
    """A running server: `url` to reach it, `asked` counts requests by fault.

    A slow one takes `slow_s` for each part. A stream sends `words`, one each `pace_s`; `spoken` has
    the monotonic time of each. The fault `raw` streams `says` as it is.
    """

    url: str = ""
    slow_s: float = 0.5
    words: Sequence[str] = ("hello ", "the", "re")
    pace_s: float = 0
    says: bytes = b""
    asked: Counter[str] = field(default_factory=Counter)
    spoken: list[float] = field(default_factory=list)

    def at(self, fault: str) -> str:
        """The base_url of a model that has this fault."""
        return refused() if fault == "refused" else f"{self.url}/{fault}"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The caller may give up at any time.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            path, body = await _request(reader)
            _, fault, *protocol = path.split("/")
            self.asked[fault] += 1
            await self._fail(fault, protocol[-1] == "messages", bool(body.get("stream")), writer)
            await writer.drain()
        writer.close()

    async def _fail(
        self, fault: str, claude: bool, stream: bool, out: asyncio.StreamWriter
    ) -> None:
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            out.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            out.transport.abort()
        elif fault == "hang":
            await asyncio.sleep(60)
        elif fault in STATUSES:
            more = {"retry-after": str(RETRY_AFTER_S)} if fault == "429_retry_after" else {}
            out.write(
                reply(
                    STATUSES[fault],
                    wire({"error": {"type": "told", "message": f"fault {fault}"}}),
                    **more,
                )
            )
        elif fault == "raw":
            out.write(head(200, EVENT_STREAM) + self.says)
        elif fault == "wrong_content_type":
            out.write(reply(200, b"<html>Log in</html>", "text/html"))
        elif stream:
            await self._fail_streaming(fault, claude, out)
        else:
            await self._fail_whole(fault, claude, out)

    async def _fail_whole(self, fault: str, claude: bool, out: asyncio.StreamWriter) -> None:
        body = wire(message(claude, "" if fault == "empty" else "hello there"))
        if fault == "slow_first_token":
            await asyncio.sleep(self.slow_s)
        elif fault.startswith("malformed"):
            body = body.replace(b":", b"=", 1)
        elif fault.startswith("overloaded"):
            body = OVERLOADED
        elif fault == "oversize":
            body = body[:-1] + b" " * (9 * MEGABYTE) + body[-1:]
        answer = reply(200, body)
        if fault.startswith("truncated"):
            out.write(answer[:-20])
        elif fault == "slow_stream":
            for byte in answer:
                out.write(bytes([byte]))
                await out.drain()
                await asyncio.sleep(self.slow_s / 5)
        else:
            out.write(answer)

    async def _fail_streaming(self, fault: str, claude: bool, out: asyncio.StreamWriter) -> None:
        words = {"empty": (), "oversize": ("y" * MEGABYTE,) * 9}.get(fault, self.words)
        sent = events(claude, words)
        opening = next(
            (nth for nth, one in enumerate(sent) if words and wire(words[0]) in one), len(sent)
        )
        kind = fault.removesuffix("_first")
        first = fault.endswith("_first")
        end = opening + (0 if first else 2) if kind in BROKEN_OFF else len(sent)
        out.write(head(200, EVENT_STREAM))
        if fault == "slow_first_token":
            await asyncio.sleep(self.slow_s)
        for nth, event in enumerate(sent[:end]):
            if fault == "slow_stream" and nth > opening:
                await asyncio.sleep(self.slow_s)
            out.write(event)
            await out.drain()
            if self.pace_s and nth >= opening:
                self.spoken.append(time.monotonic())
                await asyncio.sleep(self.pace_s)
        out.write(BROKEN_OFF.get(kind, b""))


async def _request(reader: asyncio.StreamReader) -> tuple[str, dict]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return lines[0].split(" ")[1], json.loads(body or b"{}")


def refused() -> str:
    """A URL that refuses connections: its port was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def faulty(slow_s: float = 0.5, port: int = 0, **more: Any) -> Generator[Faulty]:
    """The server, in a thread with a loop of its own, for the length of a block."""
    made = Faulty(slow_s=slow_s, **more)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(made.take, "127.0.0.1", port))
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, name="faults", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Stop the server and cancel the requests that still hang."""
    server.close()
    hanging = asyncio.all_tasks() - {asyncio.current_task()}
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A model's provider that fails on purpose.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slow-s", type=float, default=60)
    asked = parser.parse_args()
    with faulty(asked.slow_s, asked.port) as server:
        print(f"{server.url}/FAULT, FAULT one of good, {', '.join(FAULTS)}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
