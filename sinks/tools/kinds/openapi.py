"""Tools that are operations of an OpenAPI document.

The definition says of each argument where it goes: path, query, header, cookie or body, in
OpenAPI's styles.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from schemas.definitions.tools import ArgumentPlace, OpenApiTarget
from schemas.ports import ToolQuestion
from sinks.http import OutgoingRequest, Secret
from sinks.tools.kinds import ToolContext, ToolKind
from sinks.tools.kinds.http import (
    as_text,
    joined,
    path_segment,
    secret_headers,
    send,
    with_headers,
    with_query,
)
from sinks.tools.results import ToolResult, wrong_target

FORM = "application/x-www-form-urlencoded"


def make(context: ToolContext) -> ToolKind:
    """The kind `openapi`."""

    async def openapi(call: ToolQuestion, left_s: float, secret: Secret) -> ToolResult:
        target = call.target
        if not isinstance(target, OpenApiTarget):
            raise wrong_target(call)
        made = openapi_request(target, json.loads(call.arguments or "{}"))
        own = secret_headers(target.headers, secret)
        return await send(context, call, left_s, with_headers(call, made, own))

    return openapi


@dataclass
class _Placed:
    """The parts of a request while its arguments are placed."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    query: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    body: Any = field(default_factory=dict)

    def add(self, argument: str, place: ArgumentPlace, value: Any) -> None:
        """Puts an argument where its place says."""
        match place.where:
            case "path":
                self.url = self.url.replace(f"{{{place.name}}}", path_segment(argument, value))
            case "query":
                self.query += query_pairs(place, value)
            case "header":
                self.headers[place.name.lower()] = header_value(joined(value))
            case "cookie":
                text = quote(joined(value).encode("utf-8", "replace"), safe="")
                self.cookies.append(f"{place.name}={text}")
            case "body":
                self.body[place.name] = value
            case _:
                self.body = value


def openapi_request(target: OpenApiTarget, arguments: dict[str, Any]) -> OutgoingRequest:
    """A request with every argument at its place; one that has no place is left out."""
    placed = _Placed(target.url)
    places = target.places
    # The whole body comes last: an argument that is a field of it must not be set on it.
    known = [(name, places[name], value) for name, value in arguments.items() if name in places]
    for name, place, value in sorted(known, key=lambda one: one[1].where == "whole"):
        placed.add(name, place, value)
    headers = placed.headers
    if placed.cookies:
        headers["cookie"] = "; ".join(placed.cookies)
    url = with_query(placed.url, placed.query)
    if not target.body_type:
        return OutgoingRequest(target.method, url, headers)
    headers["content-type"] = target.body_type
    content = encoded_body(placed.body, target.body_type)
    return OutgoingRequest(target.method, url, headers, content)


def encoded_body(body: Any, body_type: str) -> bytes:
    """A body in its media type: a form, else JSON."""
    if body_type == FORM:
        fields = [(name, as_text(value)) for name, value in body.items()]
        return with_query("", fields)[1:].encode("utf-8", "replace")
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def query_pairs(place: ArgumentPlace, value: Any) -> list[tuple[str, str]]:
    """An argument in OpenAPI's styles: form (exploded or not), deepObject, or JSON."""
    if place.style == "json" or not isinstance(value, list | dict):
        return [(place.name, as_text(value))]
    if isinstance(value, dict) and place.style == "deepObject":
        return [(f"{place.name}[{name}]", as_text(each)) for name, each in value.items()]
    if not place.explode:
        return [(place.name, joined(value))]
    if isinstance(value, list):
        return [(place.name, as_text(each)) for each in value]
    return [(name, as_text(each)) for name, each in value.items()]


def header_value(text: str) -> str:
    """A header's value: text of a model can begin no other header, and is ASCII."""
    return quote(text.encode("utf-8", "replace"), safe=" !#$&'()*+,/:;=?@[]|~\"<>^`{}%")
