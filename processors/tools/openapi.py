"""Reads an operation of an OpenAPI document: its arguments, and where each one goes.

OpenAPI 3.0 and 3.1. All that the operation needs is taken out of the document, so that a definition
made of it stands alone: references replaced, 3.0's words put into JSON Schema's, read-only
properties left out. Parameters become arguments, and so do the properties of a body that is a plain
object; any other body is the one argument `body`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from processors.tools.provider_schemas import (
    ARGUMENT,
    DESCRIPTION_CHARS,
    UnresolvableReferenceError,
    Writer,
    free_name,
)
from schemas.definitions.tools import ArgumentPlace

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
IGNORED_HEADERS = (
    "accept",
    "content-type",
    "authorization",
    "idempotency-key",
    "traceparent",
    "tracestate",
)
"""The first three OpenAPI itself ignores; the others are no model's to choose."""
FORM = "application/x-www-form-urlencoded"
STYLES = {
    "query": ("form", "deepObject"),
    "path": ("simple",),
    "header": ("simple",),
    "cookie": ("form",),
}
SAID_ELSEWHERE = (
    "nullable",
    "example",
    "discriminator",
    "xml",
    "externalDocs",
    "readOnly",
    "writeOnly",
    "deprecated",
)
PLAIN = {"type", "properties", "required", "description", "title", "additionalProperties"}
MIXED = ("allOf", "anyOf", "oneOf", "not", "patternProperties")


class OpenApiError(Exception):
    """What is wrong with a document, and where in it."""

    def __init__(self, sentence: str, *where: str | int):
        super().__init__(sentence)
        self.where = where


@dataclass(frozen=True)
class Operation:
    """All that a tool's definition needs of an operation."""

    method: str
    url: str
    description: str
    parameters: dict[str, Any]
    places: dict[str, ArgumentPlace]
    body_type: str


class Spec(Writer):
    """A document that has been read. `base` is the address that it came from, for relative servers;
    `server` is used in place of the document's own.
    """

    def __init__(self, document: Any, base: str = "", server: str = ""):
        super().__init__(document)
        self._base, self._given = base, server
        version = document.get("openapi") if isinstance(document, dict) else None
        if not str(version).startswith("3."):
            older = isinstance(document, dict) and "swagger" in document
            raise OpenApiError(
                "this is Swagger 2.0: convert it to OpenAPI 3"
                if older
                else "this is no OpenAPI 3 document: its top has no `openapi: 3.…`"
            )

    def operation(self, name: str) -> Operation:
        """The operation of that operationId, or of a method and path, e.g. `GET /orders/{id}`.
        Raises OpenApiError.
        """
        path, method = self._find(name)
        item = self._whole(self._document["paths"][path], "paths", path)
        own, at = item[method], ("paths", path, method)
        properties: dict[str, Any] = {}
        places: dict[str, ArgumentPlace] = {}
        required: list[str] = []
        for where, parameter in self._parameters(item, own, at):
            argument = self._argument(parameter, properties, places, where)
            if parameter.get("required") is True or parameter["in"] == "path":
                required.append(argument)
        body_type = self._body(own, at, properties, places, required)
        words = [
            str(each[key])
            for each in (own, item)
            for key in ("description", "summary")
            if each.get(key)
        ]
        words = next(
            (text for text in words if len(text) <= DESCRIPTION_CHARS), words[0] if words else ""
        )
        schema = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        return Operation(
            method.upper(), self._server(item, own) + path, words, schema, places, body_type
        )

    def asked_with_key(self, name: str) -> str:
        """The address of a second operation, `{key}` in place of its one parameter. Raises
        OpenApiError.
        """
        found = self.operation(name)
        needed = [*found.parameters["required"]] or [*found.parameters["properties"]][:1]
        where = found.places[needed[0]].where if needed else ""
        if found.method != "GET" or len(needed) != 1 or where not in ("path", "query"):
            raise OpenApiError(
                f"operation {name!r} cannot be asked with our key alone: it should be a GET with "
                "one parameter "
                "that must be given, in its path or its query",
                "paths",
            )
        own = found.places[needed[0]].name
        return (
            found.url.replace(f"{{{own}}}", "{key}")
            if where == "path"
            else f"{found.url}?{own}={{key}}"
        )

    def _find(self, name: str) -> tuple[str, str]:
        known = {}
        for path, item in (self._document.get("paths") or {}).items():
            for method in METHODS:
                own = item.get(method) if isinstance(item, dict) else None
                if isinstance(own, dict):
                    known[f"{method.upper()} {path}"] = path, method
                    known[str(own.get("operationId", ""))] = path, method
        known.pop("", None)
        if name in known:
            return known[name]
        some = ", ".join(sorted(known)[:20]) or "none"
        raise OpenApiError(
            f"there is no operation {name!r} (there are: {some}): correct it", "paths"
        )

    def _parameters(
        self, item: dict[str, Any], own: dict[str, Any], at: tuple[str | int, ...]
    ) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
        """The path's parameters and the operation's, of which the latter win; required ones of both
        first.
        """
        found: dict[tuple[str, str], tuple[tuple[str | int, ...], dict[str, Any]]] = {}
        for above, holder in ((at[:-1], item), (at, own)):
            for nth, parameter in enumerate(holder.get("parameters") or ()):
                where = (*above, "parameters", nth)
                parameter = self._whole(parameter, *where)
                if parameter.get("in") not in STYLES or not isinstance(parameter.get("name"), str):
                    raise OpenApiError(
                        "a parameter needs a `name` and an `in` of path, query, header or cookie",
                        *where,
                    )
                if parameter["in"] != "header" or parameter["name"].lower() not in IGNORED_HEADERS:
                    found[parameter["in"], parameter["name"]] = where, parameter
        yield from found.values()

    def _argument(
        self,
        parameter: dict[str, Any],
        properties: dict[str, Any],
        places: dict[str, ArgumentPlace],
        where: tuple[str | int, ...],
    ) -> str:
        """Adds a parameter to both, under a name that is free and that providers take."""
        kind, name = parameter["in"], parameter["name"]
        media = next(iter((parameter.get("content") or {}).values()), None)
        schema = self._schema(media if media is not None else parameter, (*where, "schema"))
        if parameter.get("description"):
            schema = {"description": parameter["description"]} | schema
        style = "json" if media is not None else parameter.get("style", STYLES[kind][0])
        if style not in (*STYLES[kind], "json"):
            raise OpenApiError(
                f"style {style!r} of {kind} parameter {name!r} is not known here: use "
                f"{' or '.join(STYLES[kind])}",
                *where,
            )
        argument = (
            name
            if ARGUMENT.fullmatch(name) and name not in properties
            else free_name(name, properties)
        )
        properties[argument] = schema
        places[argument] = ArgumentPlace(
            where=kind,
            name=name,
            style=style,
            explode=bool(parameter.get("explode", style == "form")),
        )
        return argument

    def _body(
        self,
        own: dict[str, Any],
        at: tuple[str | int, ...],
        properties: dict[str, Any],
        places: dict[str, ArgumentPlace],
        required: list[str],
    ) -> str:
        """Adds a body's arguments; its content type, or nothing where there is no body."""
        if "requestBody" not in own:
            return ""
        where = (*at, "requestBody")
        body = self._whole(own["requestBody"], *where)
        content = body.get("content") or {}
        said = next((kind for kind in content if is_json(kind)), FORM if FORM in content else None)
        if said is None:
            raise OpenApiError(
                f"its body is {', '.join(content) or 'nothing'}: JSON and forms can be sent",
                *where,
                "content",
            )
        schema = self._schema(content[said] or {}, (*where, "content", said, "schema"))
        kind = said.replace("*/*", "application/json")
        inner = schema.get("properties")
        needed = [name for name in schema.get("required", ()) if isinstance(name, str)]
        flat = (
            isinstance(inner, dict)
            and inner
            and schema.get("type", "object") == "object"
            and not any(keyword in schema for keyword in MIXED)
            and not schema.get("additionalProperties")
            and (body.get("required") is True or not needed)
        )
        if not flat or not isinstance(inner, dict):
            argument = free_name("body", properties)
            properties[argument] = schema
            places[argument] = ArgumentPlace(where="whole", name="body")
            if body.get("required") is True:
                required.append(argument)
            return kind
        for name, part in inner.items():
            argument = (
                name
                if ARGUMENT.fullmatch(name) and name not in properties
                else free_name(name, properties)
            )
            properties[argument], places[argument] = part, ArgumentPlace(where="body", name=name)
            if name in needed:
                required.append(argument)
        return kind

    def _schema(self, holder: dict[str, Any], where: tuple[str | int, ...]) -> dict[str, Any]:
        try:
            made = self.write(holder.get("schema", {}))
        except UnresolvableReferenceError as error:
            raise OpenApiError(str(error), *where) from error
        return made if isinstance(made, dict) else {}

    def _whole(self, value: Any, *where: str | int) -> dict[str, Any]:
        """What stands at a place, or what its reference points at."""
        for _ in range(10):
            if not isinstance(value, dict):
                break
            if "$ref" not in value:
                return value
            try:
                value = self.found(str(value["$ref"]))
            except UnresolvableReferenceError as error:
                raise OpenApiError(str(error), *where) from error
        raise OpenApiError("an object should stand here", *where)

    def _server(self, item: dict[str, Any], own: dict[str, Any]) -> str:
        if self._given:
            return self._given.rstrip("/")
        servers = (
            own.get("servers")
            or item.get("servers")
            or self._document.get("servers")
            or [{"url": "/"}]
        )
        first: dict[str, Any] = servers[0] if isinstance(servers[0], dict) else {}
        url = str(first.get("url", "/"))
        for name, variable in (first.get("variables") or {}).items():
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
        if re.match("https?://", url):
            return url.rstrip("/")
        origin = re.match("https?://[^/]+", self._base)
        if not origin:
            raise OpenApiError(
                f"its server is {url!r}, which is no whole address: give the tool a `url`, the "
                "part before "
                "the path",
                "servers",
            )
        folder = self._base.rpartition("/")[0] if not url.startswith("/") else origin[0]
        return f"{folder}/{url.removeprefix('./').lstrip('/')}".rstrip("/")

    def clean(self, schema: dict[str, Any]) -> dict[str, Any]:
        """As any schema, and with 3.0's words and OpenAPI's own put into JSON Schema's."""
        made = super().clean(
            {
                name: value
                for name, value in schema.items()
                if name not in SAID_ELSEWHERE and not name.startswith("x-")
            }
        )
        if schema.get("nullable") is True and isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
            if isinstance(made.get("enum"), list) and None not in made["enum"]:
                made["enum"] = [*made["enum"], None]
        for keyword, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(made.get(keyword), bool):
                exclusive = made.pop(keyword)
                if exclusive and limit in made:
                    made[keyword] = made.pop(limit)
        if isinstance(made.get("properties"), dict):
            kept = {
                name: part
                for name, part in made["properties"].items()
                if not self._is_read_only(part)
            }
            if isinstance(made.get("required"), list):
                made["required"] = [
                    name
                    for name in made["required"]
                    if name in kept or name not in made["properties"]
                ]
            made["properties"] = kept
        return made

    def _inside(self, schema: dict[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
        """As any schema; one that is several plain objects at once (allOf) becomes one object."""
        made = super()._inside(schema, above)
        several = made.get("allOf")
        if not isinstance(several, list) or not all(
            isinstance(one, dict) and set(one) <= PLAIN for one in several
        ):
            return made
        whole = {name: value for name, value in made.items() if name != "allOf"}
        parts = [
            *several,
            {name: whole[name] for name in ("properties", "required") if name in whole},
        ]
        whole |= {
            "type": "object",
            "properties": {k: v for one in parts for k, v in one.get("properties", {}).items()},
        }
        required = dict.fromkeys(name for one in parts for name in one.get("required", ()))
        return whole | {"required": list(required)} if required else whole

    def _is_read_only(self, part: Any) -> bool:
        if isinstance(part, dict) and isinstance(part.get("$ref"), str):
            part = part | self.found(part["$ref"])
        return isinstance(part, dict) and part.get("readOnly") is True


def is_json(kind: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json") or kind == "*/*"
