"""A relay that bounds the messages of an MCP server on its standard output.

The client reads a line whole, however long it is. This program stands between: it starts the
server, passes on its input and output, and replaces an answer that is too long by an error for the
request that it answers. It needs nothing but Python: `python mcp_relay.py BYTES_MAX PROGRAM
ARGUMENT…`.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from typing import Any, BinaryIO

CHUNK = 64 * 1024
ENDS = 4_096
NOT_FOUND = 127
TOO_LARGE = (
    b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32603,"message":"too_large: more than %s bytes",'
    b'"data":{"weir":{"too_large":true}}}}\n'
)
ID = re.compile(rb'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)')


class OpenRequests:
    """The ids of the requests that have no answer yet, as they stand in JSON."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()

    def note(self, line: bytes) -> None:
        """Takes note of a line that goes to the server."""
        said = message_of(line)
        if "method" in said and "id" in said:
            self._ids.add(json.dumps(said["id"]).encode())

    def settle(self, line: bytes) -> None:
        """Takes note of a line that came from the server, whole."""
        said = message_of(line) if len(line) < CHUNK else None
        if said is None:
            self.answered_in(line[:ENDS] + line[-ENDS:])
        elif "method" not in said:
            self._ids.discard(json.dumps(said.get("id")).encode())

    def answered_in(self, ends: bytes) -> bytes | None:
        """Which request a line answers, by its beginning and end; None where that cannot be told."""
        found = [id for id in ID.findall(ends) if id in self._ids]
        if not found and len(self._ids) == 1:
            found = [*self._ids]
        self._ids -= set(found[:1])
        return found[0] if found else None


def message_of(line: bytes) -> dict[str, Any]:
    """A message; an empty one where the line is none."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def relay_replies(source: Any, sink: BinaryIO, bytes_max: int, asked: OpenRequests) -> None:
    """Passes lines on, those that are too long as errors. Ends where one cannot be matched to a
    request.
    """
    while line := source.readline(bytes_max + 1):
        if len(line) <= bytes_max:
            asked.settle(line)
        else:
            tail = line[-ENDS:]
            while not tail.endswith(b"\n") and (part := source.readline(CHUNK)):
                tail = (tail + part)[-ENDS:]
            id = asked.answered_in(line[:ENDS] + tail)
            if id is None:
                print(f"too_large: a message of more than {bytes_max:,} bytes", file=sys.stderr)
                return
            line = TOO_LARGE % (id, f"{bytes_max:,}".encode())
        sink.write(line)
        sink.flush()


def relay_requests(source: Any, sink: BinaryIO, asked: OpenRequests) -> None:
    """Passes on what the client sends, until it ends."""
    try:
        while line := source.readline():
            asked.note(line)
            sink.write(line)
            sink.flush()
        sink.close()
    except OSError:  # the server has ended, which its output tells
        return


def main(bytes_max: int, command: list[str]) -> int:
    try:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
        return NOT_FOUND
    asked = OpenRequests()
    threading.Thread(
        target=relay_requests, args=(sys.stdin.buffer, server.stdin, asked), daemon=True
    ).start()
    with contextlib.suppress(BrokenPipeError):  # the client has gone
        relay_replies(server.stdout, sys.stdout.buffer, bytes_max, asked)
    server.terminate()
    return server.wait()


if __name__ == "__main__":
    os._exit(
        main(int(sys.argv[1]), sys.argv[2:])
    )  # a thread that still waits for input would hold up an orderly end
