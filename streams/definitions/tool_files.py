"""Completes tool definitions from OpenAPI documents and MCP servers, and checks them.

This happens once, when a definition is applied: an operation is looked up in its OpenAPI document,
a tool's arguments in the list of its MCP server. The published definition is complete.
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
from processors.tools.openapi import OpenApiError, Spec
from processors.tools.provider_schemas import (
    DESCRIPTION_CHARS,
    UnresolvableReferenceError,
    name_error,
    provider_errors,
    renamed,
    written,
)
from schemas.definitions.tools import (
    FILLED_IN,
    TARGETS,
    HttpTarget,
    KafkaTarget,
    McpServer,
    McpTarget,
    OpenApiTarget,
    Tool,
)
from sinks.http import CallError, OutgoingRequest, request
from sinks.redaction import SecretRedactor
from sinks.tools.kinds.http import PLACEHOLDER
from sinks.tools.kinds.mcp import McpTools
from streams.config import names_in, secret, settings
from streams.definitions import yaml_files
from streams.definitions.checks import Source, line_in
from streams.ports.kafka_tools import is_service_topic

EFFECTS = {
    "GET": "pure",
    "HEAD": "pure",
    "OPTIONS": "pure",
    "PUT": "idempotent",
    "DELETE": "idempotent",
}
"""The effects that HTTP defines for its methods; a file may name another."""
TELLING = re.compile(
    "authorization|cookie|token(?!s)|secret|passw(or)?d|api.?key|credential", re.IGNORECASE
)
REFERENCE = re.compile(r"env:[A-Z][A-Z0-9_]*")
SPEC_BYTES_MAX = 20 * 1024 * 1024
SPEC_S = 20.0
SERVER_S = 20.0


class ToolFileError(Exception):
    """A sentence on what is wrong, and the key in the tool's file."""

    def __init__(self, sentence: str, *where: str | int):
        super().__init__(sentence)
        self.where = where


def completed(source: Source, tool: Tool, mistakes: list[str]) -> Tool:
    """The tool of a file, with all that was looked up. Mistakes are added to the list."""
    found = [*_wrong_with(tool)]
    if not found:
        try:
            tool = _looked_up(tool, source.path)
            tool = _acceptable(tool)
        except ToolFileError as mistake:
            found.append(mistake)
    mistakes += [source.says(str(mistake), *mistake.where) for mistake in found]
    return tool


def _wrong_with(tool: Tool) -> Iterator[ToolFileError]:
    """Everything that can be seen in the file alone."""
    wrong = name_error(tool.name)
    if wrong:
        yield ToolFileError(wrong, "name")
    written_in_file = tool.model_fields_set | tool.target.model_fields_set
    for key in sorted(written_in_file & filled_in(tool.via)):
        yield ToolFileError(f"`{key}` is filled in when the tool is applied: remove it", key)
    if isinstance(tool.target, KafkaTarget):
        yield from _bad_topics(tool.target)
    yield from _bad_addresses(tool)
    yield from _open_secrets(tool)
    if (tool.effect == "reconcilable") != (tool.reconcile is not None):
        yield ToolFileError(
            "`effect: reconcilable` and `reconcile:` (how it is asked whether it happened) "
            "belong together: "
            "give both or neither",
            "effect" if "effect" in tool.model_fields_set else "reconcile",
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
            yield ToolFileError(
                f"a tool `via: {tool.via}` is asked whether it happened at a `url`: give one",
                "reconcile",
            )
    wrong = schema_error(tool.returns or {})
    if wrong:
        yield ToolFileError(f"returns is no JSON Schema that can be used: {wrong}", "returns")


def filled_in(via: str) -> frozenset[str]:
    """The keys that a file must not have, because they are found when the tool is applied."""
    return FILLED_IN | {"method"} if via == "openapi" else FILLED_IN


def target_error(via: str, loc: tuple[str | int, ...], error: str) -> str | None:
    """What is wrong with the target of a tool, where there is more to say than what the type says:
    `error` is pydantic's name of it, `loc` where it stands in the file.
    """
    if error.startswith("union_tag"):
        return f"via: a tool is reached via one of {', '.join(TARGETS)}: correct it"
    if len(loc) != 1:
        return None
    if error in ("missing", "string_too_short"):
        return f"`via: {via}` needs `{loc[0]}`: add it"
    if error == "extra_forbidden" and loc[0] in filled_in(via):
        return f"`{loc[0]}` is filled in when the tool is applied: remove it"
    if error == "extra_forbidden":
        return f"`{loc[0]}` is not for `via: {via}`: remove it"
    return None


def _bad_topics(target: KafkaTarget) -> Iterator[ToolFileError]:
    topics = {"request_topic": target.request_topic, "reply_topic": target.reply_topic}
    for key, topic in topics.items():
        if not is_service_topic(topic, settings().prefix):
            yield ToolFileError(
                f"{key} {topic!r} is not allowed as a topic of a service: do not use Weir's own "
                "topics, and only letters, "
                "digits, '.', '_' and '-'",
                key,
            )


def _bad_addresses(tool: Tool) -> Iterator[ToolFileError]:
    target = tool.target
    addresses: dict[tuple[str, ...], str] = {
        ("reconcile", "url"): tool.reconcile.url if tool.reconcile else ""
    }
    if isinstance(target, HttpTarget | OpenApiTarget):
        addresses["url",] = target.url
    if isinstance(target, McpTarget):
        addresses["server", "url"] = target.server.url
    spec = target.spec if isinstance(target, OpenApiTarget) else ""
    if "@" in spec.partition("://")[2].partition("/")[0]:
        yield ToolFileError(
            "spec holds a user or password: save the document beside this file", "spec"
        )
    for where, url in addresses.items():
        if url and not re.match(r"https?://[^\s/?#]+", url):
            yield ToolFileError(
                f"{'.'.join(where)} {url!r} is no http address: give one that begins http:// or "
                "https://",
                *where,
            )
        elif url and "@" in url.split("/")[2]:
            yield ToolFileError(
                f"{'.'.join(where)} holds a user or password: put them into a header as env:NAME",
                *where,
            )


def _open_secrets(tool: Tool) -> Iterator[ToolFileError]:
    """Definitions are events that everybody may read: what a name says to be secret has to be a
    reference.
    """
    target = tool.target
    held: dict[tuple[str, ...], dict[str, str]] = {
        ("reconcile", "headers"): tool.reconcile.headers if tool.reconcile else {}
    }
    if isinstance(target, HttpTarget | OpenApiTarget):
        held["headers",] = target.headers
    if isinstance(target, McpTarget):
        held["server", "headers"] = target.server.headers
        held["server", "env"] = target.server.env
    for where, values in held.items():
        for name, value in values.items():
            if TELLING.search(name) and value and not REFERENCE.search(value):
                yield ToolFileError(
                    f"{name!r} holds a secret: write env:NAME in its place, and export NAME "
                    "where the workers "
                    "start",
                    *where,
                    name,
                )


def _looked_up(tool: Tool, path: Path) -> Tool:
    target = tool.target
    if isinstance(target, McpTarget):
        found = target.model_copy(
            update={
                "mcp_tool": target.mcp_tool or tool.name,
                "server": _placed_here(target.server, path),
            }
        )
        tool = tool.model_copy(update={"target": found})
        return tool if "parameters" in tool.model_fields_set else _of_server(tool, found)
    return _of_operation(tool, target, path) if isinstance(target, OpenApiTarget) else tool


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


def _of_server(tool: Tool, target: McpTarget) -> Tool:
    """The tool with the arguments that its MCP server lists. Raises ToolFileError."""
    servers = McpTools(names_in(settings().mcp_commands))
    hidden = SecretRedactor(secret)
    try:
        words, schema = asyncio.run(
            servers.describe(target.server, target.mcp_tool, SERVER_S, hidden)
        )
    except CallError as error:
        raise ToolFileError(
            f"its server cannot be asked for the arguments of {target.mcp_tool!r} "
            f"({hidden.redact_refusal(error.detail)}): start it, or write `parameters`",
            "server",
        ) from error
    return tool.model_copy(update={"parameters": schema, "description": tool.description or words})


def _of_operation(tool: Tool, target: OpenApiTarget, path: Path) -> Tool:
    """The tool with its operation's arguments, address and method. Raises ToolFileError."""
    where, text = _text_of(target.spec, path)
    document = _document(where, text)
    try:
        spec = Spec(document, where, target.url)
        found = spec.operation(target.operation)
        second = tool.reconcile
        if second and second.operation:
            second = second.model_copy(update={"url": spec.asked_with_key(second.operation)})
    except OpenApiError as error:
        at = f"{where}, line {line}" if (line := line_in(text, error.where)) else where
        raise ToolFileError(
            f"operation {target.operation!r}: {at}: {error}", "operation"
        ) from error
    whole = target.model_copy(
        update={
            "method": found.method,
            "url": found.url,
            "places": found.places,
            "body_type": found.body_type,
        }
    )
    return tool.model_copy(
        update={
            "target": whole,
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
    ToolFileError.
    """
    try:
        if re.match("https?://", spec):
            return spec, asyncio.run(_fetched(spec))
        file = (path.parent / spec).resolve()
        if file.stat().st_size > SPEC_BYTES_MAX:
            raise ToolFileError(
                f"{file} has more than {SPEC_BYTES_MAX:,} bytes: leave out what is not needed",
                "spec",
            )
        return str(file), yaml_files.read_text(file)
    except (CallError, OSError, UnicodeDecodeError) as error:
        raise ToolFileError(
            f"the document {spec!r} cannot be read ({error}): correct the path, from this file's "
            "folder, or "
            "the address",
            "spec",
        ) from error


async def _fetched(url: str) -> str:
    async with httpx.AsyncClient() as http:
        reply = await request(http, OutgoingRequest("GET", url, {}), SPEC_S, SPEC_BYTES_MAX)
    return reply.text


@lru_cache(maxsize=8)
def _document(where: str, text: str) -> Any:
    """A document, read once for all the tools that are made of it. Raises ToolFileError."""
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text)  # a hundred times faster than as YAML
        return yaml_files.load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1 if mark else getattr(error, 'lineno', '?')}"
        raise ToolFileError(
            f"{where}{line}: no JSON or YAML ({getattr(error, 'problem', None) or error}): "
            "correct it",
            "spec",
        ) from error


def _acceptable(tool: Tool) -> Tool:
    """The tool with its parameters as providers take them. Raises ToolFileError."""
    if len(tool.description) > DESCRIPTION_CHARS:
        raise ToolFileError(
            f"its description has {len(tool.description):,} characters, and model providers "
            "refuse more than "
            f"{DESCRIPTION_CHARS:,}: write a shorter `description`",
            "description",
        )
    try:
        parameters = written(tool.parameters)
    except UnresolvableReferenceError as error:
        raise ToolFileError(f"parameters: {error}", "parameters") from error
    wrong = schema_error(parameters)
    if wrong:
        raise ToolFileError(
            f"parameters are no JSON Schema that can be used: {wrong}", "parameters"
        )
    parameters, names = renamed(parameters)
    for where, sentence in provider_errors(parameters):
        raise ToolFileError(sentence, "parameters", *where)
    _placed(tool, parameters, names)
    return tool.model_copy(update={"parameters": parameters, "names": names})


def _placed(tool: Tool, parameters: dict[str, Any], names: dict[str, str]) -> None:
    """Every argument has a place in the request, and every name in the address is an argument.
    Raises ToolFileError.
    """
    target = tool.target
    arguments = {names.get(name) or name for name in parameters.get("properties", {})}
    if isinstance(target, OpenApiTarget):
        lost = sorted(arguments - target.places.keys())
        if lost:
            raise ToolFileError(
                f"operation {target.operation!r} has no argument {lost[0]!r} (it has: "
                f"{', '.join(target.places) or 'none'}): correct `parameters`, or leave them out",
                "parameters",
            )
        key = "parameters"
        in_url = {name for name, place in target.places.items() if place.where == "path"}
    elif isinstance(target, HttpTarget):
        key = "url"
        in_url = set(PLACEHOLDER.findall(target.url))
    else:
        return
    needed = {names.get(name, name) for name in parameters.get("required", ())}
    missing = sorted(in_url - needed)
    if missing:
        raise ToolFileError(
            f"{missing[0]!r} is part of the address, so it has to be one of the `parameters` "
            "that are `required`",
            key,
        )
