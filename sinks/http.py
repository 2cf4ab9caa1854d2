"""HTTP for all calls that Weir makes: one client, one error, bounded replies.

httpx's own pool is quadratic in the number of calls under way: 200 calls of 50 ms at once made 146
calls/s, over aiohttp's connections 1,464. So that transport is always used, and with both limits
set: without them it stops at 100 connections without a word.
"""

import asyncio
import contextlib
import email.utils
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient

from sinks.charsets import text_of
from sinks.runtime import now_utc

BODY_BYTES_MAX = 8 * 1024 * 1024
LARGE_BYTES = 1024 * 1024
DETAIL_CHARS = 500
RETRIED_STATUS = {408, 409, 425, 429}
SECRET_HINT = " (check the secret that its definition names)"
TRANSPORT_REASONS: dict[str, tuple[type[Exception], ...]] = {
    "refused": (
        aiohttp.ClientConnectorError,
        aiohttp.ClientProxyConnectionError,
        httpx.ConnectError,
    ),
    "truncated": (aiohttp.ClientPayloadError,),
    "reset": (
        aiohttp.ClientConnectionError,
        OSError,
        httpx.NetworkError,
        httpx.RemoteProtocolError,
    ),
}
"""The reasons of both transports' errors; the first that fits counts."""
SECRET = re.compile(r"env:[A-Z][A-Z0-9_]*")
Secret = Callable[[str], str]
BeforeLarge = Callable[[], Awaitable[None]]


class CallError(Exception):
    """A call failed. `reason` is a short name, `detail` one sentence for people.

    `retryable`: the same call may succeed later. `uncertain`: it may have been carried out although
    it failed. `partial`: a part of the answer was published already.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        retryable: bool = False,
        uncertain: bool = False,
        retry_after_s: float | None = None,
        partial: bool = False,
    ):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable
        self.uncertain = uncertain
        self.retry_after_s = retry_after_s
        self.partial = partial

    def tell(self, detail: str) -> None:
        """Replaces the sentence, in what is logged of the error too."""
        self.detail = detail
        self.args = (detail,)


@dataclass(frozen=True)
class OutgoingRequest:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None = None


@dataclass(frozen=True)
class HttpReply:
    """A whole reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type, without its parameters."""
        return content_type(self.headers)

    @property
    def text(self) -> str:
        """The body in the charset that it declares."""
        return text_of(self.body, self.headers.get("content-type", ""))


def http_client(at_once: int, reuse: bool = True) -> HttpxAiohttpClient:
    """One client for a process. Without `reuse` each call has a connection of its own: one that the
    other side has closed is noticed only when it is used, and a call that may be sent only once
    would fail for nothing.
    """
    limits = httpx.Limits(
        max_connections=at_once,
        max_keepalive_connections=at_once,
        keepalive_expiry=15.0 if reuse else 0.0,
    )
    return HttpxAiohttpClient(limits=limits, timeout=httpx.Timeout(None), follow_redirects=False)


async def request(
    http: httpx.AsyncClient,
    outgoing: OutgoingRequest,
    timeout_s: float,
    bytes_max: int = BODY_BYTES_MAX,
    before_large: BeforeLarge | None = None,
) -> HttpReply:
    """The reply to one request, sent once, of which no more than `bytes_max` are read. Raises
    CallError, whatever the other side does.
    """
    try:
        async with asyncio.timeout(timeout_s), open_reply(http, outgoing) as reply:
            return await read_reply(reply, bytes_max, before_large)
    except TimeoutError as error:
        raise CallError("timeout", f"no answer within {timeout_s:.1f} s", uncertain=True) from error


@contextlib.asynccontextmanager
async def open_reply(
    http: httpx.AsyncClient, outgoing: OutgoingRequest
) -> AsyncIterator[httpx.Response]:
    """A reply below 300, whose body is still to be read: what fails then is a CallError too."""
    method = outgoing.method
    url = outgoing.url
    try:
        async with http.stream(
            method, url, headers=outgoing.headers, content=outgoing.content
        ) as reply:
            if reply.status_code >= 300:
                raise _status_error(reply, (await read_reply(reply)).body)
            yield reply
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CallError(
            "bad_url", f"{url!r} is no valid URL: correct it in the definition"
        ) from error
    except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError) as error:
        raise _transport_error(error) from error


async def read_reply(
    answer: httpx.Response, bytes_max: int = BODY_BYTES_MAX, before_large: BeforeLarge | None = None
) -> HttpReply:
    """The reply with its whole body; of an error only the beginning. `before_large` is awaited
    before a large body is read on.
    """
    parts = []
    size = 0
    async for part in answer.aiter_bytes():
        parts.append(part)
        size += len(part)
        if answer.status_code >= 300 and size > 4 * DETAIL_CHARS:
            break
        if size > bytes_max:
            raise CallError(
                "too_large",
                f"the answer has more than {bytes_max:,} bytes, the limit",
            )
        if size > LARGE_BYTES and before_large is not None:
            await before_large()
            before_large = None
    return HttpReply(answer.status_code, answer.headers, b"".join(parts))


def _transport_error(error: Exception) -> CallError:
    """The CallError of a transport's error. The transport names some errors after others (a closed
    connection is a ConnectTimeout), so the cause decides. In tests the transport may be httpx's
    own, whose errors say what they are.
    """
    cause = error.__cause__ or error
    words = f"{type(cause).__name__}: {cause}".rstrip(": ")[:DETAIL_CHARS]
    if isinstance(cause, aiohttp.InvalidURL):
        return CallError("bad_url", words)
    reason = next(
        (
            reason
            for reason, kinds in TRANSPORT_REASONS.items()
            if isinstance(cause, kinds)
            or (not isinstance(cause, aiohttp.ClientError) and isinstance(error, kinds))
        ),
        "bad_http",
    )
    if reason == "reset" and "complete message body" in words:
        reason = "truncated"
    if reason == "refused":
        return CallError(
            reason,
            f"{words}. Nothing listens there: start it, or correct the URL in its definition",
            retryable=True,
        )
    return CallError(reason, words, retryable=True, uncertain=True)


def _status_error(answer: httpx.Response, body: bytes) -> CallError:
    """The CallError of a status from 300 on."""
    status = answer.status_code
    text = text_of(body, answer.headers.get("content-type", ""))
    words = text.strip()[:DETAIL_CHARS] or answer.reason_phrase
    return CallError(
        f"http_{status}",
        f"status {status}: {words}{SECRET_HINT if status == 401 else ''}",
        retryable=status in RETRIED_STATUS or status >= 500,
        uncertain=status in (502, 504),
        retry_after_s=retry_after_s_of(answer.headers),
    )


def retry_after_s_of(headers: Mapping[str, str]) -> float | None:
    """The seconds to wait that a reply asks for. Some providers say milliseconds, in a header of
    their own.
    """
    exact = headers.get("retry-after-ms", "")
    return float(exact) / 1000 if exact.isdecimal() else retry_after(headers.get("retry-after"))


def retry_after(value: str | None, now: Callable[[], datetime] = now_utc) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or a date; None where it says
    nothing.
    """
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        date = email.utils.parsedate_tz(value)
    if date is None:
        return None
    return max(0.0, email.utils.mktime_tz(date) - now().timestamp())


def content_type(headers: Mapping[str, str]) -> str:
    """The media type in a reply's headers, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def context_headers(context: Mapping[str, str]) -> dict[str, str]:
    """The context of a call as headers: `weir-tenant`, `weir-session`, ..., and `traceparent` under
    its own name.
    """
    return {
        name if name == "traceparent" else f"weir-{name}": quote(
            value, safe=" !#$&'()*+,/:;=?@[]|~"
        )
        for name, value in context.items()
    }


def resolve_secrets(text: str, secret: Secret) -> str:
    """A text with every reference `env:NAME` resolved. Raises CallError where one is not set."""

    def resolved(found: re.Match[str]) -> str:
        try:
            return secret(found[0])
        except KeyError as error:
            raise CallError("no_secret", str(error.args[0])) from error

    return SECRET.sub(resolved, text)


def preview(value: Any) -> str:
    """The beginning of a value that was received, for an error message."""
    return repr(value)[:200]
