"""What does a folder of YAML define: tenants, agents, models, tools, policies, and the documents that agents know?

    tenants/*.yaml  agents/*.yaml  models/*.yaml  tools/*.yaml  policies/*.yaml
    currencies/*.yaml
    documents/*.md            known to every tenant of the folder
    documents/<tenant>/*.md   known to that tenant

A file is one definition; its name is the file's, unless it says another. The folder is checked as a whole before
anything is applied: a mistake is told with file and line, and what to do.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from processors.arguments import schema_error
from schemas.knowledge import DocumentPublished
from schemas.registry import KINDS, Agent, Definition, Tenant, Tool
from streams.client import now
from streams.config import settings

FOLDERS = {"tenants": "tenant", "agents": "agent", "models": "model", "tools": "tool", "policies": "policy",
           "currencies": "currency"}
DOCUMENTS = "documents"
DOCUMENT_BYTES_MAX = 7 * 1024 * 1024
SERVICES_PORT = "${services_port}"
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+)$", re.MULTILINE)


class BadCompany(Exception):
    """A folder that cannot be applied; every mistake in it is one line: file, line, what is wrong, what to do."""


@dataclass(frozen=True)
class Company:
    """What `weir apply` publishes."""

    definitions: Sequence[Definition]
    documents: Sequence[DocumentPublished]


@dataclass(frozen=True)
class Source:
    """A definition's file, with its nodes, so that a mistake can be told with its line."""

    path: Path
    root: yaml.Node
    definition: Definition

    def says(self, sentence: str, *where: str | int) -> str:
        return f"{self.path}, line {_line(self.root, where)}: {sentence}"


def load(folder: Path, services_port: int | None = None) -> Company:
    """The company in a folder. Raises BadCompany with all that is wrong.

    `${services_port}` in a file stands for the port of the scripted services on this machine.
    """
    if not folder.is_dir():
        raise BadCompany(f"{folder} is no folder: give one with tenants/, agents/, models/, tools/, policies/")
    mistakes: list[str] = []
    port = str(services_port or settings().services_port)
    sources = [source for path, kind in _files(folder, mistakes) if (source := _read(path, kind, port, mistakes))]
    mistakes += [*_twice(sources), *_dangling(sources), *_unusable_tools(sources),
                 *_unusable_outputs(sources)]
    tenants = [s.definition.name for s in sources if isinstance(s.definition, Tenant)]
    documents = [*_documents(folder / DOCUMENTS, tenants, mistakes)]
    if mistakes:
        raise BadCompany("\n".join(mistakes))
    if not sources and not documents:
        raise BadCompany(f"{folder} defines nothing: put YAML into {', '.join(f'{name}/' for name in FOLDERS)} or "
                         f"Markdown into {DOCUMENTS}/")
    return Company([source.definition for source in sources], documents)


def _files(folder: Path, mistakes: list[str]) -> Iterator[tuple[Path, str]]:
    for sub in sorted(path for path in folder.iterdir() if path.is_dir() and path.name != DOCUMENTS):
        if sub.name not in FOLDERS:
            if any(sub.glob("*.y*ml")):
                mistakes.append(f"{sub}: unknown folder; definitions are in {', '.join(FOLDERS)}: rename it")
            continue
        for path in sorted(sub.iterdir()):
            if path.suffix in (".yaml", ".yml"):
                yield path, FOLDERS[sub.name]


def _read(path: Path, kind: str, services_port: str, mistakes: list[str]) -> Source | None:
    try:
        text = path.read_text(encoding="utf-8").replace(SERVICES_PORT, services_port)
        root = yaml.compose(text, yaml.SafeLoader)
        fields = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        mistakes.append(f"{path}{where}: no valid YAML ({getattr(error, 'problem', None) or error}): correct it")
        return None
    if not isinstance(root, yaml.MappingNode) or not isinstance(fields, dict):
        mistakes.append(f"{path}, line 1: a definition is a mapping of `key: value`, see infra/company/{kind}*/")
        return None
    mistakes += [f"{path}, line {line}: {key!r} is there twice: remove one" for key, line in _repeated(root)]
    try:
        return Source(path, root, KINDS[kind].model_validate({"name": path.stem} | fields))
    except ValidationError as error:
        mistakes += [_sentence(path, root, kind, one) for one in error.errors(include_url=False)]
        return None


def _sentence(path: Path, root: yaml.Node, kind: str, error: dict[str, Any]) -> str:
    loc = tuple(part for part in error["loc"] if isinstance(part, str | int))
    name = ".".join(map(str, loc))
    at = f"{path}, line {_line(root, loc)}"
    if error["type"] == "extra_forbidden":
        known = KINDS[kind].model_fields if len(loc) == 1 else {}
        rest = f"; a {kind} has: {', '.join(known)}" if known else ""
        return f"{at}: unknown key {name!r}: correct or remove it{rest}"
    if error["type"] == "missing":
        return f"{at}: {name!r} is missing: add it"
    return f"{at}: {name}: {error['msg']} (it is {str(error.get('input'))[:80]!r}): change it"


def _line(node: yaml.Node, where: tuple[str | int, ...]) -> int:
    """The line of the deepest part of `where` that the file has."""
    line = node.start_mark.line + 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


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


def _twice(sources: list[Source]) -> Iterator[str]:
    first: dict[tuple[str, str], Path] = {}
    for source in sources:
        at = source.definition.kind, source.definition.name
        if at in first:
            yield source.says(f"{at[0]} {at[1]!r} is defined in {first[at]} too: rename or remove one", "name")
        first.setdefault(at, source.path)


def _dangling(sources: list[Source]) -> Iterator[str]:
    """References of agents to what the folder does not define."""
    defined = {(source.definition.kind, source.definition.name) for source in sources}
    for source in (source for source in sources if isinstance(source.definition, Tool) and source.definition.agent):
        name = source.definition.agent
        if ("agent", name) not in defined:
            yield source.says(f"there is no agent {name!r}: correct the name or add its file", "agent")
    for source in (source for source in sources if isinstance(source.definition, Tenant) and source.definition.contract):
        currency = source.definition.contract.currency
        if currency != "USD" and ("currency", currency) not in defined:
            yield source.says(f"there is no currency {currency!r}: add currencies/{currency}.yaml with its rates",
                              "contract", "currency")
    for source in (source for source in sources if isinstance(source.definition, Agent)):
        agent = source.definition
        wanted = [("model", agent.model, "model"), *(("model", name, "fallback") for name in agent.fallback),
                  *(("tool", name, "tools") for name in agent.tools),
                  *(("tenant", name, "tenants") for name in agent.tenants),
                  *([("policy", agent.policy, "policy")] if agent.policy else [])]
        for kind, name, key in wanted:
            if (kind, name) not in defined:
                known = ", ".join(sorted(other for k, other in defined if k == kind)) or "none"
                yield source.says(f"there is no {kind} {name!r} (there are: {known}): correct the name or add its file",
                                  key)


def _unusable_tools(sources: list[Source]) -> Iterator[str]:
    for source in (source for source in sources if isinstance(source.definition, Tool)):
        tool = source.definition
        wrong = schema_error(tool.parameters)
        if wrong:
            yield source.says(f"parameters are no JSON Schema that can be used: {wrong}", "parameters")
        if tool.via == "http" and not re.match(r"https?://\S+$", tool.url):
            yield source.says(f"url {tool.url!r} is no http address: give one, or `via: search`", "url")
        if (tool.via == "agent") != (tool.agent is not None):
            yield source.says("`via: agent` and `agent: NAME` belong together: give both or neither", "via")


def _unusable_outputs(sources: list[Source]) -> Iterator[str]:
    for source in (source for source in sources if isinstance(source.definition, Agent)):
        wrong = schema_error(source.definition.output or {})
        if wrong:
            yield source.says(f"output is no JSON Schema that can be used: {wrong}", "output")


def _documents(folder: Path, tenants: list[str], mistakes: list[str]) -> Iterator[DocumentPublished]:
    at = now()
    for path in sorted(folder.rglob("*.md")) if folder.is_dir() else ():
        parts = path.relative_to(folder).parts
        if len(parts) > 1 and parts[0] not in tenants:
            mistakes.append(f"{path}: there is no tenant {parts[0]!r}: rename the folder, or add its file")
            continue
        if path.stat().st_size > DOCUMENT_BYTES_MAX:
            mistakes.append(f"{path}: {path.stat().st_size:,} bytes, at most {DOCUMENT_BYTES_MAX:,}: split it")
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            mistakes.append(f"{path}: not UTF-8 (byte {error.start}): save it as UTF-8")
            continue
        heading = _HEADING.search(text)
        name = "/".join(parts)
        for tenant in parts[:1] if len(parts) > 1 else tenants:
            yield DocumentPublished.about(
                tenant, name, at.isoformat(), at=at, tenant=tenant, document=name,
                title=heading[1].strip() if heading else path.stem, text=text)
