"""A server that fails on purpose: one path a fault, on a plain socket to break HTTP too."""

import contextlib
import json
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

GOOD = {
    "id": "x",
    "model": "stub-1",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3},
}


def reply(status: int, body: bytes, kind: str = "application/json", **headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        "connection: close",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(**changes: object) -> bytes:
    return reply(200, json.dumps(GOOD | changes).encode())


def said(**message: object) -> bytes:
    return answer(
        choices=[
            {"finish_reason": "stop", "message": {"role": "assistant", "content": None, **message}}
        ]
    )


FAULTS = {
    "good": answer(),
    "truncated": answer()[:-20],
    "garbage": b"\x00\x01\x02 what?\r\n\r\n",
    "not_json": reply(200, b"{'model': oops"),
    "html": reply(200, b"<html>Log in</html>", "text/html"),
    "html_500": reply(500, b"<html>Sorry</html>", "text/html"),
    "empty_body": reply(200, b""),
    "list": reply(200, b"[1, 2]"),
    "no_choices": reply(200, b"{}"),
    "null_choices": answer(choices=None),
    "no_text": said(),
    "blank": said(content=""),
    "number_text": said(content=7),
    "bad_call": said(tool_calls=[{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}]),
    "negative_tokens": answer(usage={"prompt_tokens": -5, "completion_tokens": 1}),
    "word_tokens": answer(usage={"prompt_tokens": "many"}),
    "oversize": reply(200, b'{"x": "' + b"y" * (9 * 1024 * 1024) + b'"}'),
    "400": reply(400, b'{"error": {"message": "no such parameter"}}'),
    "401": reply(401, b'{"error": "who are you?"}'),
    "404": reply(404, b"nothing here"),
    "302": reply(302, b"", location="/good"),
    "429": reply(429, b"{}"),
    "429_later": reply(429, b"{}", retry_after="2"),
    "429_much_later": reply(429, b"{}", retry_after="3600"),
    "500": reply(500, b"{}"),
    "503": reply(503, b"{}"),
}


@dataclass
class Faulty:
    """A server: `url` to reach it, `asked` counts by path, `last` is the last request, head and
    body.
    """

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    last: tuple[str, bytes] = ("", b"")
    over: threading.Event = field(default_factory=threading.Event)

    def take(self, connection: socket.socket) -> None:
        head, _, body = self._read(connection).partition(b"\r\n\r\n")
        name = head.decode("latin-1").split(" ")[1].partition("?")[0].split("/")[1]
        self.asked[name] += 1
        self.last = head.decode("latin-1"), body
        if name == "hang":
            self.over.wait(20)
        elif name == "slow":
            for byte in FAULTS["good"]:
                connection.sendall(bytes([byte]))
                if self.over.wait(0.05):
                    return
        elif name == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif name == "then_good":
            connection.sendall(FAULTS["503" if self.asked[name] < 3 else "good"])
        elif name != "closed":
            connection.sendall(FAULTS[name])

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [
            line.split(b":")[1]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ]
        while lengths and len(body) < int(lengths[0]):
            body += connection.recv(65_536)
        return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def faulty() -> Iterator[Faulty]:
    made = Faulty()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the caller has had enough of this server
                made.take(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        made.over.set()
        server.shutdown()
