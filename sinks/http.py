"""How does Weir ask anything over HTTP, and what can go wrong?

httpx's own pool is quadratic in what is under way: 200 calls of 50 ms at once made 146 calls/s,
over aiohttp's connections 1,464. So always that transport, and with both limits set: without them
it silently stops at 100.
"""

import asyncio
import contextlib
import email.utils
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient

BODY_BYTES_MAX = 8 * 1024 * 1024
LARGE_BYTES = 1024 * 1024
DETAIL_CHARS = 500
RETRIED_STATUS = {408, 409, 425, 429}
UNKNOWN = " (see the secret that its definition names)"
REASONS: dict[str, tuple[type[Exception], ...]] = {
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
"""What errors of both transports mean, the first that fits."""
SECRET = re.compile(r"env:[A-Z][A-Z0-9_]*")
Secret = Callable[[str], str]
Grown = Callable[[], Awaitable[None]]


class Refusal(Exception):
    """The world said no, or nothing. `reason` is a short name, `again` whether asking again may
    help, `unsure` whether what was asked may have been done nevertheless, `begun` whether a part of
    the answer was heard already.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        again: bool = False,
        unsure: bool = False,
        retry_after_s: float | None = None,
        begun: bool = False,
    ):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.again = again
        self.unsure = unsure
        self.retry_after_s = retry_after_s
        self.begun = begun


@dataclass(frozen=True)
class Reply:
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return content_type(self.headers)


def client(at_once: int, reuse: bool = True) -> HttpxAiohttpClient:
    """One for a process. Without `reuse` each call has a connection of its own: an idle one that
    the other side has closed shows only when it is used, and what may never be asked twice would
    fail for nothing.
    """
    limits = httpx.Limits(
        max_connections=at_once,
        max_keepalive_connections=at_once,
        keepalive_expiry=15.0 if reuse else 0.0,
    )
    return HttpxAiohttpClient(limits=limits, timeout=httpx.Timeout(None), follow_redirects=False)


def now_utc() -> datetime:
    return datetime.now(UTC)


async def fetch(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    timeout_s: float,
    content: bytes | None = None,
    params: Any = None,
    bytes_max: int = BODY_BYTES_MAX,
    grown: Grown | None = None,
) -> Reply:
    """The answer to one request, sent once, of which no more than `bytes_max` are read. Raises
    Refusal, whatever the other side does.
    """
    try:
        async with (
            asyncio.timeout(timeout_s),
            opened(http, method, url, headers, content, params) as answer,
        ):
            return await whole(answer, bytes_max, grown)
    except TimeoutError as error:
        raise Refusal("timeout", f"no answer within {timeout_s:.1f} s", unsure=True) from error


@contextlib.asynccontextmanager
async def opened(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None = None,
    params: Any = None,
) -> AsyncIterator[httpx.Response]:
    """An answer below 300, whose body is still to be read: what goes wrong then is a Refusal too."""
    try:
        async with http.stream(
            method, url, headers=headers, content=content, params=params
        ) as answer:
            if answer.status_code >= 300:
                raise _status(answer, (await whole(answer)).body)
            yield answer
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Refusal(
            "bad_url", f"{url!r} is no URL to ask: correct it in the definition"
        ) from error
    except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError) as error:
        raise _refusal(error) from error


async def whole(
    answer: httpx.Response, bytes_max: int = BODY_BYTES_MAX, grown: Grown | None = None
) -> Reply:
    """The answer with its whole body; of an error only as much as is told. `grown` is waited for
    before a large one is read on.
    """
    parts = []
    size = 0
    async for part in answer.aiter_bytes():
        parts.append(part)
        size += len(part)
        if answer.status_code >= 300 and size > 4 * DETAIL_CHARS:
            break
        if size > bytes_max:
            raise Refusal(
                "too_large",
                f"the answer has more than {bytes_max:,} bytes, which is the most that is read",
            )
        if size > LARGE_BYTES and grown is not None:
            await grown()
            grown = None
    return Reply(answer.status_code, answer.headers, b"".join(parts))


def _refusal(error: Exception) -> Refusal:
    """The transport names some errors after others (a closed connection is a ConnectTimeout): the
    cause decides. At a desk the transport is httpx's own, whose errors say what they are.
    """
    cause = error.__cause__ or error
    words = f"{type(cause).__name__}: {cause}".rstrip(": ")[:DETAIL_CHARS]
    if isinstance(cause, aiohttp.InvalidURL):
        return Refusal("bad_url", words)
    reason = next(
        (
            reason
            for reason, kinds in REASONS.items()
            if isinstance(cause, kinds)
            or (not isinstance(cause, aiohttp.ClientError) and isinstance(error, kinds))
        ),
        "bad_http",
    )
    if reason == "reset" and "complete message body" in words:
        reason = "truncated"
    if reason == "refused":
        return Refusal(
            reason,
            f"{words}. Nobody listens there: see that it is up, and the URL in its definition",
            again=True,
        )
    return Refusal(reason, words, again=True, unsure=True)


def _status(answer: httpx.Response, body: bytes) -> Refusal:
    status = answer.status_code
    words = body[:DETAIL_CHARS].decode("utf-8", "replace").strip() or answer.reason_phrase
    return Refusal(
        f"http_{status}",
        f"status {status}: {words}{UNKNOWN if status == 401 else ''}",
        again=status in RETRIED_STATUS or status >= 500,
        unsure=status in (502, 504),
        retry_after_s=retry_after_of(answer.headers),
    )


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """The seconds to wait; some providers of models say it to the millisecond, in a header of their
    own.
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
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def context_headers(context: Mapping[str, str]) -> dict[str, str]:
    """Who asks, as headers: `weir-tenant`, `weir-session`, ..., and `traceparent` under its own
    name.
    """
    return {
        name if name == "traceparent" else f"weir-{name}": quote(
            value, safe=" !#$&'()*+,/:;=?@[]|~"
        )
        for name, value in context.items()
    }


def with_secrets(text: str, secret: Secret) -> str:
    """A text with every reference `env:NAME` resolved. Raises Refusal where one is not set."""

    def resolved(found: re.Match[str]) -> str:
        try:
            return secret(found[0])
        except KeyError as error:
            raise Refusal("no_secret", str(error.args[0])) from error

    return SECRET.sub(resolved, text)


def bounded(value: Any) -> str:
    """What was received, short enough to be told."""
    return repr(value)[:200]
