"""Reads a folder of YAML definitions and documents, and checks it as a whole.

    tenants/*.yaml  agents/*.yaml  models/*.yaml  routes/*.yaml  tools/*.yaml  policies/*.yaml
    currencies/*.yaml
    documents/*.md            known to every tenant of the folder
    documents/<tenant>/*.md   known to that tenant

A file is one definition, named as the file unless it has a `name`. The folder is checked as a whole
before anything is applied: a mistake is reported with file, line and what to do.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.definitions.base import Definition
from schemas.definitions.kinds import KINDS, Agent, Model, Route, Tenant, Tool
from schemas.definitions.tools import FILLED_IN, TARGET_FIELDS
from schemas.events.knowledge import DocumentPublished
from streams.config import settings
from streams.definitions import checks, checks_patterns, output_models, tool_files, yaml_files
from streams.definitions.checks import Source, line_of
from streams.engine.client import now
from streams.engine.errors import UserError

FOLDERS = {
    "tenants": "tenant",
    "agents": "agent",
    "models": "model",
    "tools": "tool",
    "policies": "policy",
    "prompts": "prompt",
    "aliases": "alias",
    "currencies": "currency",
    "routes": "route",
    "webhooks": "webhook",
}
DOCUMENTS = "documents"
DOCUMENT_BYTES_MAX = 7 * 1024 * 1024
FILE_BYTES_MAX = 1024 * 1024
NODES_MAX = 100_000
SERVICES_PORT = "${services_port}"
SECRET_PARTS = {"secret", "api_key", "headers", "env"}
"""Keys whose values are never shown: they may hold a secret in place of a reference."""
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+)$", re.MULTILINE)


class DefinitionsError(UserError):
    """A folder that cannot be applied; a line a mistake, with file, line and what to do."""


@dataclass(frozen=True)
class Company:
    """The definitions and documents of a folder, which `weir apply` publishes."""

    definitions: Sequence[Definition]
    documents: Sequence[DocumentPublished]
    warnings: Sequence[str] = ()


def load(folder: Path, services_port: int | None = None) -> Company:
    """The company in a folder. Raises DefinitionsError with all that is wrong.

    `${services_port}` in a file stands for the port of the scripted services on this machine.
    """
    if not folder.is_dir():
        raise DefinitionsError(
            f"{folder} is no folder: give one with tenants/, agents/, models/, tools/, policies/"
        )
    mistakes: list[str] = []
    port = str(services_port or settings().services_port)
    sources = [
        source
        for path, kind in _files(folder, mistakes)
        if (source := _read(path, kind, port, mistakes))
    ]
    sources = [
        replace(source, definition=tool_files.completed(source, source.definition, mistakes))
        if isinstance(source.definition, Tool)
        else source
        for source in sources
    ]
    sources += [
        replace(
            source,
            definition=Agent(
                name=source.definition.name,
                description=source.definition.description,
                prompt="",
                model=source.definition.name,
                pattern="single",
            ),
        )
        for source in sources
        if isinstance(source.definition, Model | Route) and source.definition.direct
    ]
    mistakes += checks.mistakes(sources)
    tenants = [s.definition.name for s in sources if isinstance(s.definition, Tenant)]
    documents = [*_documents(folder / DOCUMENTS, tenants, mistakes)]
    if mistakes:
        raise DefinitionsError("\n".join(mistakes))
    if not sources and not documents:
        raise DefinitionsError(
            f"{folder} defines nothing: put YAML into "
            f"{', '.join(f'{name}/' for name in FOLDERS)} or "
            f"Markdown into {DOCUMENTS}/"
        )
    return Company(
        [source.definition for source in sources], documents, [*checks_patterns.warnings(sources)]
    )


def definition_in(path: Path, kind: str) -> Any:
    """The definition in one file, checked by itself. Raises DefinitionsError with all that is
    wrong.
    """
    mistakes: list[str] = []
    if not path.is_file():
        raise DefinitionsError(f"{path} is no file: name the YAML file of one {kind}")
    source = _read(path, kind, str(settings().services_port), mistakes)
    if source is None or mistakes:
        raise DefinitionsError("\n".join(mistakes))
    return source.definition


def _files(folder: Path, mistakes: list[str]) -> Iterator[tuple[Path, str]]:
    for sub in sorted(
        path for path in folder.iterdir() if path.is_dir() and path.name != DOCUMENTS
    ):
        if sub.name not in FOLDERS:
            if any(sub.glob("*.y*ml")):
                mistakes.append(
                    f"{sub}: unknown folder; definitions are in {', '.join(FOLDERS)}: rename it"
                )
            continue
        for path in sorted(sub.iterdir()):
            if path.suffix in (".yaml", ".yml"):
                yield path, FOLDERS[sub.name]


def _read(path: Path, kind: str, services_port: str, mistakes: list[str]) -> Source | None:
    try:
        if not path.is_file():
            raise OSError("it is no file that can be read")
        if path.stat().st_size > FILE_BYTES_MAX:
            raise OSError(
                f"{path.stat().st_size:,} bytes, at most {FILE_BYTES_MAX:,}: is it a definition?"
            )
        text = yaml_files.read_text(path).replace(SERVICES_PORT, services_port)
        root = yaml_files.compose(text)
        if _nodes(root, {}) > NODES_MAX:
            raise ValueError(f"with its aliases it has more than {NODES_MAX:,} values: write less")
        fields = yaml_files.load(text)
    except OSError as error:
        mistakes.append(f"{path}: {error.strerror or error}: correct or remove it")
        return None
    except RecursionError:
        mistakes.append(
            f"{path}: it is nested too deep, or an alias holds itself: write it simpler"
        )
        return None
    except (
        yaml.YAMLError,
        ValueError,
    ) as error:  # a date that is none, a number of thousands of digits, not UTF-8
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        mistakes.append(
            f"{path}{where}: no valid YAML ({getattr(error, 'problem', None) or error}): correct it"
        )
        return None
    if not isinstance(root, yaml.MappingNode) or not isinstance(fields, dict):
        mistakes.append(
            f"{path}, line 1: a definition is a mapping of `key: value`, see infra/company/{kind}*/"
        )
        return None
    mistakes += [
        f"{path}, line {line}: {key!r} is there twice: remove one" for key, line in _repeated(root)
    ]
    try:
        fields = output_models.with_schema(fields) if kind == "agent" else fields
        return Source(path, root, KINDS[kind].model_validate({"name": path.stem} | fields))
    except output_models.OutputModelError as wrong:
        mistakes.append(f"{path}, line {line_of(root, ('output',))}: {wrong}")
        return None
    except ValidationError as error:
        mistakes += [_sentence(path, root, kind, one) for one in error.errors(include_url=False)]
        return None


def _nodes(node: yaml.Node | None, known: dict[int, int]) -> int:
    """How many values a node has, an alias counted as often as it is used: ten lines of them can be
    a billion.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        inner = (
            node.value
            if isinstance(node, yaml.SequenceNode)
            else [part for pair in node.value for part in pair]
        )
        known[id(node)] = 1 + sum(_nodes(part, known) for part in inner)
    return known[id(node)]


def _sentence(path: Path, root: yaml.Node, kind: str, error: ErrorDetails) -> str:
    loc = tuple(part for part in error["loc"] if isinstance(part, str | int))
    if kind == "tool" and loc[:1] == ("target",):
        via = str(loc[1]) if len(loc) > 1 else ""
        loc = loc[2:] or ("via",)
        sentence = tool_files.target_error(via, loc, error["type"])
        if sentence:
            there = loc if error["type"] == "extra_forbidden" else ("via",)
            return f"{path}, line {line_of(root, there)}: {sentence}"
    name = ".".join(map(str, loc))
    at = f"{path}, line {line_of(root, loc)}"
    if error["type"] == "extra_forbidden":
        known = _keys_of(kind) if len(loc) == 1 else []
        rest = f"; a {kind} has: {', '.join(known)}" if known else ""
        return f"{at}: unknown key {name!r}: correct or remove it{rest}"
    if error["type"] == "missing":
        return f"{at}: {name!r} is missing: add it"
    if error["type"] == "string_type" and isinstance(error.get("input"), int | float):
        return f"{at}: {name}: it is a number and has to be a text: put it in quotes"
    if SECRET_PARTS & set(loc):
        return (
            f"{at}: {name}: what is secret is not written here: write env:NAME, and export "
            "NAME where the workers start"
        )
    return f"{at}: {name}: {error['msg']}{_shown(error.get('input'))}: change it"


def _keys_of(kind: str) -> list[str]:
    """The keys that a file of that kind may have."""
    own = [key for key in KINDS[kind].model_fields if key != "target"]
    return sorted({*own, *TARGET_FIELDS} - FILLED_IN) if kind == "tool" else own


def _shown(value: Any) -> str:
    """What was written, where it is one value: a whole mapping may hold a secret further down."""
    return f" (it is {str(value)[:80]!r})" if isinstance(value, str | int | float | None) else ""


def _repeated(node: yaml.Node) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                yield str(key.value), key.start_mark.line + 1
            seen.add(str(key.value))
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value)


def _documents(
    folder: Path, tenants: list[str], mistakes: list[str]
) -> Iterator[DocumentPublished]:
    at = now()
    for path in sorted(folder.rglob("*.md")) if folder.is_dir() else ():
        parts = path.relative_to(folder).parts
        if len(parts) > 1 and parts[0] not in tenants:
            mistakes.append(
                f"{path}: there is no tenant {parts[0]!r}: rename the folder, or add its file"
            )
            continue
        if not path.is_file():
            mistakes.append(f"{path}: it is no file that can be read: correct or remove it")
            continue
        if path.stat().st_size > DOCUMENT_BYTES_MAX:
            mistakes.append(
                f"{path}: {path.stat().st_size:,} bytes, at most {DOCUMENT_BYTES_MAX:,}: split it"
            )
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            mistakes.append(f"{path}: not UTF-8 (byte {error.start}): save it as UTF-8")
            continue
        except OSError as error:
            mistakes.append(f"{path}: {error.strerror or error}: correct or remove it")
            continue
        heading = _HEADING.search(text)
        name = "/".join(parts)
        for tenant in parts[:1] if len(parts) > 1 else tenants:
            yield DocumentPublished.about(
                tenant,
                name,
                at.isoformat(),
                at=at,
                tenant=tenant,
                document=name,
                title=heading[1].strip() if heading else path.stem,
                text=text,
            )
