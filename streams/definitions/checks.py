"""Checks that a folder's definitions fit together: names, tools, outputs and prompts.

Each check yields sentences with file and line; `mistakes` runs all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from processors.common.json_schema import schema_error
from processors.prompts import render
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Tenant, Tool
from schemas.definitions.prompts import Alias, Prompt, PromptUse
from schemas.definitions.tools import AgentTarget
from streams.definitions import checks_patterns, checks_people, checks_routes, yaml_files

TOOLS_MAX = 128


@dataclass(frozen=True)
class Source:
    """A definition's file with its YAML nodes, so that a mistake can be reported with its line."""

    path: Path
    root: yaml.Node
    definition: Definition

    def says(self, sentence: str, *where: str | int) -> str:
        return f"{self.path}, line {line_of(self.root, where)}: {sentence}"


def mistakes(sources: list[Source]) -> list[str]:
    """All mistakes of the sources, a sentence each with file and line."""
    return [sentence for check in CHECKS for sentence in check(sources)]


def line_of(node: yaml.Node, where: tuple[str | int, ...]) -> int:
    """The line of the deepest part of `where` that the file has."""
    line = node.start_mark.line + 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = next(
                ((key, value) for key, value in node.value if key.value == str(part)), None
            )
            if found is None:
                return line
            line = found[0].start_mark.line + 1
            node = found[1]
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def line_in(text: str, where: tuple[str | int, ...]) -> int | None:
    """The same in a text; None where it cannot be read as YAML, as JSON with tabs in it cannot."""
    try:
        root = yaml_files.compose(text)
    except (yaml.YAMLError, ValueError):
        return None
    return None if root is None else line_of(root, where)


def _twice(sources: list[Source]) -> Iterator[str]:
    first: dict[tuple[str, str], Path] = {}
    for source in sources:
        at = source.definition.kind, source.definition.name
        if at in first:
            yield source.says(
                f"{at[0]} {at[1]!r} is defined in {first[at]} too: rename or remove one", "name"
            )
        first.setdefault(at, source.path)


def _dangling(sources: list[Source]) -> Iterator[str]:
    """References to what the folder does not define."""
    defined = names_of(sources)
    for source in sources:
        target = source.definition.target if isinstance(source.definition, Tool) else None
        name = target.agent if isinstance(target, AgentTarget) else None
        if name is not None and ("agent", name) not in defined:
            yield source.says(
                f"there is no agent {name!r}: correct the name or add its file", "agent"
            )
    for source in sources:
        tenant = source.definition
        if not isinstance(tenant, Tenant) or not tenant.contract:
            continue
        currency = tenant.contract.currency
        if currency != "USD" and ("currency", currency) not in defined:
            yield source.says(
                f"there is no currency {currency!r}: add currencies/{currency}.yaml with its rates",
                "contract",
                "currency",
            )
    yield from _dangling_of_agents(sources, defined)


def _dangling_of_agents(sources: list[Source], defined: set[tuple[str, str]]) -> Iterator[str]:
    for source in sources:
        agent = source.definition
        if not isinstance(agent, Agent):
            continue
        if len(agent.tools) > TOOLS_MAX:
            yield source.says(
                f"{len(agent.tools)} tools: model providers take at most {TOOLS_MAX}: divide the "
                "agent",
                "tools",
            )
        for kind, name, key in _references(agent, defined):
            if (kind, name) not in defined:
                known = ", ".join(sorted(other for k, other in defined if k == kind)) or "none"
                yield source.says(
                    f"there is no {kind} {name!r} (there are: {known}): correct the name or add "
                    "its file",
                    key,
                )


def _references(agent: Agent, defined: set[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Kind, name and key of everything that an agent refers to."""
    model = "route" if ("route", agent.model) in defined else "model"
    return [
        (model, agent.model, "model"),
        *(("model", name, "fallback") for name in agent.fallback),
        *(("tool", name, "tools") for name in agent.tools),
        *(("tenant", name, "tenants") for name in agent.tenants),
        *([("policy", agent.policy, "policy")] if agent.policy else []),
        *([("prompt", agent.prompt.use, "prompt")] if isinstance(agent.prompt, PromptUse) else []),
    ]


def _unusable_outputs(sources: list[Source]) -> Iterator[str]:
    for source in sources:
        agent = source.definition
        wrong = schema_error(agent.output or {}) if isinstance(agent, Agent) else None
        if wrong:
            yield source.says(f"output is no JSON Schema that can be used: {wrong}", "output")


def _unusable_prompts(sources: list[Source]) -> Iterator[str]:
    for source in sources:
        definition = source.definition
        if isinstance(definition, Prompt):
            yield from (source.says(words, "variables") for words in render.mistakes(definition))
            for nth, test in enumerate(definition.tests):
                wrong = render.failures(definition, test)
                if wrong:
                    name = test.name or f"number {nth + 1}"
                    yield source.says(
                        f"the prompt's test {name} fails: {'; '.join(wrong)}", "tests", nth
                    )
        elif isinstance(definition, Alias) and ("prompt", definition.name) not in names_of(sources):
            yield source.says(
                f"there is no prompt {definition.name!r}: an alias has the name of its prompt",
                "name",
            )


def names_of(sources: list[Source]) -> set[tuple[str, str]]:
    return {(source.definition.kind, source.definition.name) for source in sources}


CHECKS = (
    _twice,
    _dangling,
    checks_routes.mistakes,
    checks_patterns.mistakes,
    checks_people.mistakes,
    _unusable_outputs,
    _unusable_prompts,
)
