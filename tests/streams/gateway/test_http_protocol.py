"""Is what never becomes a request answered with a problem, and does a head without an end take
neither memory nor place?
"""

import asyncio
import json
import re

import pytest

from streams.gateway import http_protocol
from tests.support.serving import serving

ASKED = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\nweir-tenant: fernweh\r\n"
END = b"\r\n\r\n"


@pytest.fixture
def say(app):
    """Sends bytes over a socket, keeps it open, and returns the answers that came until the gateway
    closed it.
    """

    async def within(parts: tuple[bytes, ...]) -> bytes:
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answered = b""
            for part in parts:
                writer.write(part)
                if part.endswith(END) and part is not parts[-1]:
                    answered += await reader.readuntil(b'"last_id":"support"}')
            answered += await asyncio.wait_for(reader.read(), 5)
            writer.close()
        return answered

    return lambda *parts: asyncio.run(within(parts))


def problem(answered: bytes) -> dict:
    head, _, body = answered.rpartition(END)
    assert (
        b"content-type: application/problem+json" in head and head.count(b"connection: close") == 1
    )
    said = json.loads(body)
    assert f" {said['status']} ".encode() in head
    return said


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ((b"\x16\x03\x01\x02\x00\x01\x00" + END,), 400, "not_http"),
        (
            (b"POST /v1/requests HTTP/1.1\r\nhost: gateway\r\ncontent-length: -5\r\n\r\n",),
            400,
            "not_http",
        ),
        ((ASKED + b"x: ", *[b"a" * 65_536] * 8), 431, "large_head"),
        ((ASKED, *[b"x-%d: y\r\n" % n for n in range(20_000)]), 431, "large_head"),
        ((b"GET /" + b"a" * 65_536, b"a" * 100_000), 431, "large_head"),
    ],
    ids=["TLS", "length", "one header", "many headers", "URL"],
)
def test_what_is_no_request_is_told_and_the_connection_ends(say, sent, status, code):
    said = problem(say(*sent))
    assert (said["status"], said["code"]) == (status, code)


def test_a_head_that_is_whole_and_too_large_is_told_too(say):
    answered = say(ASKED + b"connection: close\r\nx: " + b"a" * 70_000 + END)
    assert json.loads(answered.partition(END)[2])["code"] == "large_head"


@pytest.mark.parametrize("sent", [b"", ASKED])
def test_a_connection_that_never_asks_is_ended(say, monkeypatch, sent):
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.05)
    assert problem(say(sent))["code"] == "too_slow"


def test_a_connection_may_ask_again_and_then_go_wrong(say):
    answered = say(ASKED + b"\r\n", ASKED + b"\r\n", b"what?" + END)
    assert re.findall(rb"HTTP/1.1 (\d{3})", answered) == [b"200", b"200", b"400"]
