"""Is a tool's file enough to call it, and would a model's provider take it?

What can be looked up once is looked up here, when it is applied: an operation in its OpenAPI
document, the arguments of a tool in its MCP server's own list. The definition that is published
stands alone.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from processors.common.json_schema import schema_error
from processors.tools.openapi import BadSpec, Spec
from processors.tools.provider_schemas import (
    DESCRIPTION_CHARS,
    Unresolvable,
    name_error,
    provider_errors,
    renamed,
    written,
)
from schemas.definitions.kinds import Tool
from schemas.definitions.tools import McpServer
from sinks.http import Refusal, fetch
from sinks.tools.http import PLACEHOLDER
from sinks.tools.mcp import McpTools
from sinks.tools.results import Discreet
from streams.config import names_in, secret, settings
from streams.definitions.checks import Source, line_in
from streams.ports.kafka_tools import a_services

NEEDS = {
    "http": ("url",),
    "openapi": ("spec", "operation"),
    "mcp": ("server",),
    "python": ("entry",),
    "kafka": ("request_topic", "reply_topic"),
    "agent": ("agent",),
    "search": (),
}
OWN = {
    "url": ("http", "openapi"),
    "method": ("http",),
    "headers": ("http", "openapi"),
    "spec": ("openapi",),
    "operation": ("openapi",),
    "places": (),
    "body_type": (),
    "names": (),
    "server": ("mcp",),
    "mcp_tool": ("mcp",),
    "entry": ("python",),
    "request_topic": ("kafka",),
    "reply_topic": ("kafka",),
    "agent": ("agent",),
}
EFFECTS = {
    "GET": "pure",
    "HEAD": "pure",
    "OPTIONS": "pure",
    "PUT": "idempotent",
    "DELETE": "idempotent",
}
"""What HTTP promises of its methods; a file that says another effect knows better."""
TELLING = re.compile(
    "authorization|cookie|token(?!s)|secret|passw(or)?d|api.?key|credential", re.IGNORECASE
)
REFERENCE = re.compile(r"env:[A-Z][A-Z0-9_]*")
SPEC_BYTES_MAX, SPEC_S, SERVER_S = 20 * 1024 * 1024, 20.0, 20.0


class Mistake(Exception):
    """A sentence on what is wrong, and the key in the tool's file."""

    def __init__(self, sentence: str, *where: str | int):
        super().__init__(sentence)
        self.where = where


def completed(source: Source, mistakes: list[str]) -> Tool:
    """The tool with all that was looked up. What is wrong is added to the mistakes."""
    tool: Tool = source.definition
    found = [*_wrong_with(tool)]
    if not found:
        try:
            tool = _looked_up(tool, source.path)
            tool = _acceptable(tool)
        except Mistake as mistake:
            found.append(mistake)
    mistakes += [source.says(str(mistake), *mistake.where) for mistake in found]
    return tool


def _wrong_with(tool: Tool) -> Iterator[Mistake]:
    """Everything that can be seen in the file alone."""
    given, wrong = tool.model_fields_set, name_error(tool.name)
    if wrong:
        yield Mistake(wrong, "name")
    for key in NEEDS[tool.via]:
        if not getattr(tool, key):
            yield Mistake(f"`via: {tool.via}` needs `{key}`: add it", "via")
    for key, kinds in OWN.items():
        if key in given and tool.via not in kinds:
            yield Mistake(
                f"`{key}` is not for `via: {tool.via}`: remove it"
                if kinds
                else f"`{key}` is filled in when the tool is applied: remove it",
                key,
            )
    for key in ("request_topic", "reply_topic") if tool.via == "kafka" else ():
        if getattr(tool, key) and not a_services(getattr(tool, key), settings().prefix):
            yield Mistake(
                f"{key} {getattr(tool, key)!r} can be no topic of a service: Weir's own are not, and a name has "
                "letters, digits, '.', '_' and '-'",
                key,
            )
    yield from _bad_addresses(tool)
    yield from _open_secrets(tool)
    if (tool.effect == "reconcilable") != (tool.reconcile is not None):
        yield Mistake(
            "`effect: reconcilable` and `reconcile:` (how it is asked whether it happened) belong together: "
            "give both or neither",
            "effect" if "effect" in given else "reconcile",
        )
    if tool.reconcile:
        kind = next(
            kind
            for kind, key in (
                ("openapi", "operation"),
                ("mcp", "mcp_tool"),
                ("python", "entry"),
                ("", "url"),
            )
            if getattr(tool.reconcile, key)
        )
        if kind and kind != tool.via:
            yield Mistake(
                f"a tool `via: {tool.via}` is asked whether it happened at a `url`: give one",
                "reconcile",
            )
    wrong = schema_error(tool.returns or {})
    if wrong:
        yield Mistake(f"returns is no JSON Schema that can be used: {wrong}", "returns")


def _bad_addresses(tool: Tool) -> Iterator[Mistake]:
    addresses = {
        ("url",): tool.url,
        ("server", "url"): tool.server.url if tool.server else "",
        ("reconcile", "url"): tool.reconcile.url if tool.reconcile else "",
    }
    if "@" in tool.spec.partition("://")[2].partition("/")[0]:
        yield Mistake("spec holds a user or password: save the document beside this file", "spec")
    for where, url in addresses.items():
        if url and not re.match(r"https?://[^\s/?#]+", url):
            yield Mistake(
                f"{'.'.join(where)} {url!r} is no http address: give one that begins http:// or https://",
                *where,
            )
        elif url and "@" in url.split("/")[2]:
            yield Mistake(
                f"{'.'.join(where)} holds a user or password: put them into a header as env:NAME",
                *where,
            )


def _open_secrets(tool: Tool) -> Iterator[Mistake]:
    """Definitions are events that everybody may read: what a name says to be secret has to be a
    reference.
    """
    held = {
        ("headers",): tool.headers,
        ("server", "headers"): tool.server.headers if tool.server else {},
        ("server", "env"): tool.server.env if tool.server else {},
        ("reconcile", "headers"): tool.reconcile.headers if tool.reconcile else {},
    }
    for where, values in held.items():
        for name, value in values.items():
            if TELLING.search(name) and value and not REFERENCE.search(value):
                yield Mistake(
                    f"{name!r} holds a secret: write env:NAME in its place, and export NAME where the workers "
                    "start",
                    *where,
                    name,
                )


def _looked_up(tool: Tool, path: Path) -> Tool:
    if tool.via == "mcp":
        tool = tool.model_copy(
            update={
                "mcp_tool": tool.mcp_tool or tool.name,
                "server": _placed_here(tool.server, path),
            }
        )
        return tool if "parameters" in tool.model_fields_set else _of_server(tool)
    return _of_operation(tool, path) if tool.via == "openapi" else tool


def _placed_here(server: McpServer, path: Path) -> McpServer:
    """The server with the arguments of its command that are files beside the tool's as whole paths:
    it may be started from anywhere.
    """
    if not server.command:
        return server
    program, *arguments = server.command
    beside = (path.parent / argument for argument in arguments)
    placed = (
        str(file.resolve())
        if "/" in argument and not argument.startswith("/") and file.is_file()
        else argument
        for argument, file in zip(arguments, beside, strict=True)
    )
    return server.model_copy(update={"command": (program, *placed)})


def _of_server(tool: Tool) -> Tool:
    """The tool with the arguments that its MCP server lists. Raises Mistake."""
    servers = McpTools(names_in(settings().mcp_commands))
    hidden = Discreet(secret)
    try:
        words, schema = asyncio.run(servers.described(tool.server, tool.mcp_tool, SERVER_S, hidden))
    except Refusal as refusal:
        raise Mistake(
            f"its server cannot be asked for the arguments of {tool.mcp_tool!r} "
            f"({hidden.hide(refusal.detail)}): start it, or write `parameters`",
            "server",
        ) from refusal
    return tool.model_copy(update={"parameters": schema, "description": tool.description or words})


def _of_operation(tool: Tool, path: Path) -> Tool:
    """The tool with its operation's arguments, address and method. Raises Mistake."""
    where, text = _text_of(tool.spec, path)
    document = _document(where, text)
    try:
        spec = Spec(document, where, tool.url)
        found = spec.operation(tool.operation)
        second = tool.reconcile
        if second and second.operation:
            second = second.model_copy(update={"url": spec.asked_with_key(second.operation)})
    except BadSpec as error:
        at = f"{where}, line {line}" if (line := line_in(text, error.where)) else where
        raise Mistake(f"operation {tool.operation!r}: {at}: {error}", "operation") from error
    return tool.model_copy(
        update={
            "method": found.method,
            "url": found.url,
            "places": found.places,
            "body_type": found.body_type,
            "reconcile": second,
            "description": tool.description or found.description,
            "parameters": tool.parameters
            if "parameters" in tool.model_fields_set
            else found.parameters,
            "effect": tool.effect
            if "effect" in tool.model_fields_set
            else EFFECTS.get(found.method, "once"),
        }
    )


def _text_of(spec: str, path: Path) -> tuple[str, str]:
    """Where the document is, and its text: from an address, or a file beside the tool's. Raises
    Mistake.
    """
    try:
        if re.match("https?://", spec):
            return spec, asyncio.run(_fetched(spec))
        file = (path.parent / spec).resolve()
        if file.stat().st_size > SPEC_BYTES_MAX:
            raise Mistake(
                f"{file} has more than {SPEC_BYTES_MAX:,} bytes: leave out what is not needed",
                "spec",
            )
        return str(file), file.read_text(encoding="utf-8")
    except (Refusal, OSError, UnicodeDecodeError) as error:
        raise Mistake(
            f"the document {spec!r} cannot be read ({error}): correct the path, from this file's folder, or "
            "the address",
            "spec",
        ) from error


async def _fetched(url: str) -> str:
    async with httpx.AsyncClient() as http:
        reply = await fetch(http, "GET", url, {}, SPEC_S, bytes_max=SPEC_BYTES_MAX)
    return reply.body.decode("utf-8")


@lru_cache(maxsize=8)
def _document(where: str, text: str) -> Any:
    """A document, read once for all the tools that are made of it. Raises Mistake."""
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text)  # a hundred times faster than as YAML
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1 if mark else getattr(error, 'lineno', '?')}"
        raise Mistake(
            f"{where}{line}: no JSON or YAML ({getattr(error, 'problem', None) or error}): correct it",
            "spec",
        ) from error


def _acceptable(tool: Tool) -> Tool:
    """The tool with its parameters as providers take them. Raises Mistake."""
    if len(tool.description) > DESCRIPTION_CHARS:
        raise Mistake(
            f"its description has {len(tool.description):,} characters, and model providers refuse more than "
            f"{DESCRIPTION_CHARS:,}: write a shorter `description`",
            "description",
        )
    try:
        parameters = written(tool.parameters)
    except Unresolvable as error:
        raise Mistake(f"parameters: {error}", "parameters") from error
    wrong = schema_error(parameters)
    if wrong:
        raise Mistake(f"parameters are no JSON Schema that can be used: {wrong}", "parameters")
    parameters, names = renamed(parameters)
    for where, sentence in provider_errors(parameters):
        raise Mistake(sentence, "parameters", *where)
    _placed(tool, parameters, names)
    return tool.model_copy(update={"parameters": parameters, "names": names})


def _placed(tool: Tool, parameters: dict[str, Any], names: dict[str, str]) -> None:
    """Every argument has a place in the request, and every name in the address is an argument.
    Raises Mistake.
    """
    in_url, key = set(PLACEHOLDER.findall(tool.url)), "url"
    arguments = {names.get(name, name) for name in parameters.get("properties", {})}
    if tool.via == "openapi":
        lost = sorted(arguments - tool.places.keys())
        if lost:
            raise Mistake(
                f"operation {tool.operation!r} has no argument {lost[0]!r} (it has: "
                f"{', '.join(tool.places) or 'none'}): correct `parameters`, or leave them out",
                "parameters",
            )
        in_url, key = (
            {name for name, place in tool.places.items() if place.where == "path"},
            "parameters",
        )
    needed = {names.get(name, name) for name in parameters.get("required", ())}
    missing = sorted(in_url - needed)
    if tool.via in ("http", "openapi") and missing:
        raise Mistake(
            f"{missing[0]!r} is part of the address, so it has to be one of the `parameters` that are `required`",
            key,
        )
