"""How is a tool asked over HTTP, and where does each argument go?

A plain tool takes its arguments as a JSON body, or as a query where the method has none, and in its
address where their names stand in braces. Of an OpenAPI operation the definition says where each
one goes: path, query, header, cookie or body, in OpenAPI's styles.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from schemas.definitions.tools import ArgumentPlace, HttpTarget, OpenApiTarget
from schemas.ports import ToolQuestion
from sinks.http import Refusal, Reply, Secret, context_headers, fetch, with_secrets
from sinks.tools.results import Result, short_enough, unreachable

REPEATABLE = ("pure", "idempotent")
BODYLESS = ("GET", "HEAD")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
TEXT_TYPES = ("json", "text/plain", "text/csv", "text/markdown", "xml", "yaml")
ENDS = "weir-ends"
FORM = "application/x-www-form-urlencoded"


class HttpTools:
    """Tools at an address. `fresh` is a client without reused connections, for what may be called
    only once; `room` is waited for before a large result is read, by the call's key.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        fresh: httpx.AsyncClient,
        room: Callable[[str], Awaitable[None]],
    ):
        self._http = http
        self._fresh = fresh
        self._room = room

    async def __call__(self, question: ToolQuestion, left_s: float, secret: Secret) -> Result:
        target = question.target
        if not isinstance(target, HttpTarget | OpenApiTarget):
            raise unreachable(question)
        own, url, content = request_of(target, question.arguments)
        headers = own | context_headers(question.context)
        headers |= {
            name.lower(): with_secrets(value, secret) for name, value in target.headers.items()
        }
        headers["idempotency-key"] = question.idempotency_key
        http = self._http if question.effect in REPEATABLE else self._fresh
        reply = await fetch(
            http,
            target.method,
            url,
            headers,
            left_s,
            content,
            bytes_max=min(question.result_bytes, 4 * question.result_chars),
            grown=partial(self._room, question.idempotency_key),
        )
        return Result(
            read_result(reply, question.result_chars),
            reply.headers.get(ENDS, "").lower() == "true",
            reply.status,
        )

    async def happened(self, question: ToolQuestion, left_s: float, secret: Secret) -> Result:
        """What the second operation, at its own address, says of the first."""
        second = question.reconcile
        if second is None:
            raise unreachable(question)
        target = question.target
        first = target.headers if isinstance(target, HttpTarget | OpenApiTarget) else {}
        own = first | second.headers
        headers = context_headers(question.context)
        headers |= {name.lower(): with_secrets(value, secret) for name, value in own.items()}
        headers["idempotency-key"] = question.idempotency_key
        url = second.url.replace("{key}", quote(question.idempotency_key, safe=""))
        reply = await fetch(
            self._http,
            second.method,
            url,
            headers,
            left_s,
            bytes_max=min(question.result_bytes, 4 * question.result_chars),
        )
        return Result(read_result(reply, question.result_chars), status=reply.status)


Request = tuple[dict[str, str], str, bytes | None]


def request_of(target: HttpTarget | OpenApiTarget, arguments: str) -> Request:
    """Headers, address and body of a call with these arguments, as JSON text."""
    if isinstance(target, OpenApiTarget):
        return placed(target.url, json.loads(arguments or "{}"), target.places, target.body_type)
    url, arguments = in_path(target.url, arguments)
    if target.method in BODYLESS:
        return {}, with_query(url, list(query_of(arguments).items())), None
    return {"content-type": "application/json"}, url, arguments.encode("utf-8", "replace")


def in_path(url: str, arguments: str) -> tuple[str, str]:
    """An address with arguments in place of their names in braces, and the other arguments."""
    named = set(PLACEHOLDER.findall(url))
    if not named:
        return url, arguments
    values = json.loads(arguments or "{}")
    for name in named & values.keys():
        url = url.replace(f"{{{name}}}", segment(name, values.pop(name)))
    return url, json.dumps(values, ensure_ascii=False)


def segment(argument: str, value: Any) -> str:
    """A value as one part of a path. Raises Refusal where it would make another address of this
    one.
    """
    text = joined(value)
    if text in ("", ".", ".."):
        raise Refusal(
            "bad_arguments",
            f"{argument} is {text!r}, which would make another address of this one: give a value",
        )
    return quote(text.encode("utf-8", "replace"), safe="")


def query_of(arguments: str) -> dict[str, str]:
    """Arguments as a query string has them: text as it is, anything else as JSON."""
    return {name: plain(value) for name, value in json.loads(arguments or "{}").items()}


def plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def placed(
    url: str, arguments: dict[str, Any], places: Mapping[str, ArgumentPlace], body_type: str
) -> Request:
    """A request with every argument where its place says; one that has no place is left out."""
    headers: dict[str, str] = {}
    query: list[tuple[str, str]] = []
    cookies = []
    body = {}
    whole = None
    for argument, value in arguments.items():
        place = places.get(argument)
        if place is None:
            continue
        if place.where == "path":
            url = url.replace(f"{{{place.name}}}", segment(argument, value))
        elif place.where == "query":
            query += queried(place, value)
        elif place.where == "header":
            headers[place.name.lower()] = one_line(joined(value))
        elif place.where == "cookie":
            cookies.append(
                f"{place.name}={quote(joined(value).encode('utf-8', 'replace'), safe='')}"
            )
        elif place.where == "body":
            body[place.name] = value
        else:
            whole = (value,)
    if cookies:
        headers["cookie"] = "; ".join(cookies)
    if not body_type:
        return headers, with_query(url, query), None
    headers["content-type"] = body_type
    value = whole[0] if whole else body
    content = (
        with_query("", [(name, plain(each)) for name, each in value.items()])[1:]
        if body_type == FORM
        else json.dumps(value, ensure_ascii=False)
    )
    return headers, with_query(url, query), content.encode("utf-8", "replace")


def with_query(url: str, query: list[tuple[str, str]]) -> str:
    """The address with more in its query: what stands there already stays."""
    if not query:
        return url
    pairs = urlencode(
        [
            (name.encode("utf-8", "replace"), value.encode("utf-8", "replace"))
            for name, value in query
        ]
    )
    return f"{url}{'&' if '?' in url else '?'}{pairs}"


def queried(place: ArgumentPlace, value: Any) -> list[tuple[str, str]]:
    """An argument in OpenAPI's styles: form (exploded or not), deepObject, or JSON."""
    if place.style == "json" or isinstance(value, str | int | float | bool) or value is None:
        return [(place.name, plain(value))]
    if isinstance(value, list):
        return (
            [(place.name, plain(each)) for each in value]
            if place.explode
            else [(place.name, joined(value))]
        )
    if place.style == "deepObject":
        return [(f"{place.name}[{name}]", plain(each)) for name, each in value.items()]
    return (
        [(name, plain(each)) for name, each in value.items()]
        if place.explode
        else [(place.name, joined(value))]
    )


def joined(value: Any) -> str:
    """OpenAPI's style `simple`: parts with commas between."""
    if isinstance(value, list):
        return ",".join(map(plain, value))
    if isinstance(value, dict):
        return ",".join(f"{name},{plain(each)}" for name, each in value.items())
    return plain(value)


def one_line(text: str) -> str:
    """A header's value: what a model wrote must not begin another header, and must be Latin."""
    return quote(text.encode("utf-8", "replace"), safe=" !#$&'()*+,/:;=?@[]|~\"<>^`{}%")


def read_result(reply: Reply, chars_max: int) -> str:
    """The result as text, exactly as received. Raises Refusal where it is none that a model should
    see.
    """
    kind = reply.content_type
    if (kind and not any(text in kind for text in TEXT_TYPES)) or kind.endswith("xhtml+xml"):
        raise Refusal(
            "bad_content_type",
            f"the tool answered {reply.status} with {kind}: it should be JSON or plain text",
        )
    return short_enough(reply.body.decode("utf-8", "replace"), chars_max)
