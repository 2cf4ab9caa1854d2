"""Tools at an address, called over HTTP.

Arguments are a JSON body, or a query where the method has no body, or part of the address where
their names stand in braces.
"""

import json
import re
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from schemas.definitions.tools import HttpTarget, OpenApiTarget
from schemas.ports import ToolQuestion
from sinks.http import (
    CallError,
    HttpReply,
    OutgoingRequest,
    Secret,
    context_headers,
    request,
    resolve_secrets,
)
from sinks.tools.kinds import ToolContext, ToolKind
from sinks.tools.results import REPEATABLE, ToolResult, check_length, wrong_target

BODYLESS = ("GET", "HEAD")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
TEXT_TYPES = ("json", "text/plain", "text/csv", "text/markdown", "xml", "yaml")
ENDS_HEADER = "weir-ends"
"""`true` in a reply: the run ends with this result."""


def make(context: ToolContext) -> ToolKind:
    """The kind `http`."""

    async def http(call: ToolQuestion, left_s: float, secret: Secret) -> ToolResult:
        target = call.target
        if not isinstance(target, HttpTarget):
            raise wrong_target(call)
        made = request_of(target, call.arguments)
        own = secret_headers(target.headers, secret)
        return await send(context, call, left_s, with_headers(call, made, own))

    return http


def with_headers(call: ToolQuestion, made: OutgoingRequest, own: dict[str, str]) -> OutgoingRequest:
    """A request with the headers that all calls have, and those of the tool's definition."""
    headers = dict(made.headers) | context_headers(call.context) | own
    headers["idempotency-key"] = call.idempotency_key
    return OutgoingRequest(made.method, made.url, headers, made.content)


async def send(
    context: ToolContext, call: ToolQuestion, left_s: float, outgoing: OutgoingRequest
) -> ToolResult:
    """The result of one request. A call that may be sent only once has a connection of its own."""
    reply = await request(
        context.http if call.effect in REPEATABLE else context.fresh,
        outgoing,
        left_s,
        bytes_max_of(call),
        partial(context.before_large, call.idempotency_key),
    )
    ends = reply.headers.get(ENDS_HEADER, "").lower() == "true"
    return ToolResult(result_text(reply, call.result_chars), ends, reply.status)


async def ask_reconcile(
    context: ToolContext, call: ToolQuestion, left_s: float, secret: Secret
) -> ToolResult:
    """What the second operation of a tool, at an address of its own, says of the first."""
    second = call.reconcile
    if second is None:
        raise CallError("no_reconcile", "the tool has no `reconcile`: add it to its definition")
    target = call.target
    first = target.headers if isinstance(target, HttpTarget | OpenApiTarget) else {}
    headers = context_headers(call.context) | secret_headers(first | second.headers, secret)
    headers["idempotency-key"] = call.idempotency_key
    url = second.url.replace("{key}", quote(call.idempotency_key, safe=""))
    outgoing = OutgoingRequest(second.method, url, headers)
    reply = await request(context.http, outgoing, left_s, bytes_max_of(call))
    return ToolResult(result_text(reply, call.result_chars), status=reply.status)


def bytes_max_of(call: ToolQuestion) -> int:
    """The most bytes that are read of a result."""
    return min(call.result_bytes, 4 * call.result_chars)


def secret_headers(headers: dict[str, str], secret: Secret) -> dict[str, str]:
    """Headers of a definition with their secrets resolved."""
    return {name.lower(): resolve_secrets(value, secret) for name, value in headers.items()}


def request_of(target: HttpTarget, arguments: str) -> OutgoingRequest:
    """The request of a call with these arguments, as JSON text; with its own headers only."""
    url, arguments = in_path(target.url, arguments)
    method = target.method
    if method in BODYLESS:
        return OutgoingRequest(method, with_query(url, list(query_of(arguments).items())), {})
    headers = {"content-type": "application/json"}
    return OutgoingRequest(method, url, headers, arguments.encode("utf-8", "replace"))


def in_path(url: str, arguments: str) -> tuple[str, str]:
    """An address with arguments in place of their names in braces, and the other arguments."""
    named = set(PLACEHOLDER.findall(url))
    if not named:
        return url, arguments
    values = json.loads(arguments or "{}")
    for name in named & values.keys():
        url = url.replace(f"{{{name}}}", path_segment(name, values.pop(name)))
    return url, json.dumps(values, ensure_ascii=False)


def path_segment(argument: str, value: Any) -> str:
    """A value as one segment of a path. Raises CallError where it would change the address."""
    text = joined(value)
    if text in ("", ".", ".."):
        raise CallError(
            "bad_arguments", f"{argument} is {text!r}, which changes the address: give a value"
        )
    return quote(text.encode("utf-8", "replace"), safe="")


def query_of(arguments: str) -> dict[str, str]:
    """Arguments as a query string has them: text as it is, anything else as JSON."""
    return {name: as_text(value) for name, value in json.loads(arguments or "{}").items()}


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def joined(value: Any) -> str:
    """A value as one text, lists and objects with commas between their parts: OpenAPI's style
    `simple`.
    """
    if isinstance(value, list):
        return ",".join(map(as_text, value))
    if isinstance(value, dict):
        return ",".join(f"{name},{as_text(each)}" for name, each in value.items())
    return as_text(value)


def with_query(url: str, query: list[tuple[str, str]]) -> str:
    """The address with more parameters; those that it has stay."""
    if not query:
        return url
    pairs = urlencode(
        [
            (name.encode("utf-8", "replace"), value.encode("utf-8", "replace"))
            for name, value in query
        ]
    )
    return f"{url}{'&' if '?' in url else '?'}{pairs}"


def result_text(reply: HttpReply, chars_max: int) -> str:
    """The result as text, in the charset that it declares. Raises CallError where it is none that a
    model should read.
    """
    kind = reply.content_type
    if (kind and not any(text in kind for text in TEXT_TYPES)) or kind.endswith("xhtml+xml"):
        raise CallError(
            "bad_content_type",
            f"the tool answered {reply.status} with {kind}: it should be JSON or plain text",
        )
    return check_length(reply.text, chars_max)
