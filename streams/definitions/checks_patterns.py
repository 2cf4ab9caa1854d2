"""Checks the patterns of agents: their fields, and that workflows come to an end."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from processors.agent.plan_and_critique import tools_of
from processors.agent.workflow import validate
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Tool
from schemas.definitions.patterns import Critique, Plan, Workflow
from schemas.definitions.tools import AgentTarget

Defined = Mapping[tuple[str, str], Definition]
OWN = ("plan", "critique", "workflow")


def mistakes(sources: Sequence[Any]) -> Iterator[str]:
    """Sentences with file and line on what is wrong. `sources` are those of `checks`."""
    defined = {
        (source.definition.kind, source.definition.name): source.definition for source in sources
    }
    for source in (source for source in sources if isinstance(source.definition, Agent)):
        agent = source.definition
        for field in OWN:
            if field != agent.pattern and getattr(agent, field) is not None:
                yield source.says(
                    f"`{field}` is for `pattern: {field}`, this agent's is {agent.pattern}: "
                    "change one",
                    field,
                )
        if agent.pattern == "single" and agent.tools:
            yield source.says(
                "`pattern: single` is one answer without tools: remove them, or use `loop`", "tools"
            )
        if agent.pattern == "workflow" and agent.workflow is None:
            yield source.says("`pattern: workflow` needs a `workflow`: add it", "pattern")
        least = {
            "plan": (agent.plan or Plan()).steps + 2,
            "critique": 2 * (agent.critique or Critique()).rounds + 2,
        }
        if agent.limits.steps < least.get(agent.pattern, 0):
            yield source.says(
                f"`pattern: {agent.pattern}` may need {least[agent.pattern]} questions or more, "
                "and "
                f"limits.steps is {agent.limits.steps}: raise it",
                "limits",
                "steps",
            )
        if agent.critique and agent.critique.model:
            yield from _missing(source, "model", agent.critique.model, defined, "critique", "model")
        if agent.workflow:
            yield from _of_workflow(source, agent, agent.workflow, defined)


def _of_workflow(source: Any, agent: Agent, workflow: Workflow, defined: Defined) -> Iterator[str]:
    for place, sentence in validate.mistakes(workflow):
        yield source.says(sentence, "workflow", *place)
    for name, node in workflow.nodes.items():
        here = ("workflow", "nodes", name)
        for kind in ("tool", "agent", "model"):
            if getattr(node, kind) is not None:
                yield from _missing(source, kind, getattr(node, kind), defined, *here, kind)
        if node.compensate:
            yield from _missing(
                source, "tool", node.compensate.tool, defined, *here, "compensate", "tool"
            )
    calls = sum(node.kind in ("tool", "agent", "model") for node in workflow.nodes.values())
    if calls > agent.limits.steps:
        yield source.says(
            f"the workflow has {calls} nodes that call something, and limits.steps is "
            f"{agent.limits.steps}: raise it",
            "limits",
            "steps",
        )


def _missing(
    source: Any, kind: str, name: str, defined: Defined, *where: str | int
) -> Iterator[str]:
    if (kind, name) in defined or (kind == "model" and ("route", name) in defined):
        return
    known = ", ".join(sorted(other for k, other in defined if k == kind)) or "none"
    yield source.says(
        f"there is no {kind} {name!r} (there are: {known}): correct the name or add its file",
        *where,
    )


def warnings(sources: Sequence[Any]) -> Iterator[str]:
    """Agents that can ask one another in a circle: each run of it ends, by limits.depth, but seldom
    as was meant.
    """
    defined = {
        (source.definition.kind, source.definition.name): source.definition for source in sources
    }
    agents = {
        source.definition.name: source for source in sources if isinstance(source.definition, Agent)
    }
    asks = {
        name: [other for other in asked_by(source.definition, defined) if other in agents]
        for name, source in agents.items()
    }
    told: set[frozenset[str]] = set()
    for name, source in agents.items():
        circle = _circle(asks, name)
        if circle and frozenset(circle) not in told:
            told.add(frozenset(circle))
            way = " -> ".join((*circle, name))
            where = ("workflow",) if source.definition.workflow else ("tools",)
            yield source.says(
                f"agents can ask one another in a circle ({way}): limits.depth, which is "
                f"{source.definition.limits.depth}, ends it",
                *where,
            )


def asked_by(agent: Agent, defined: Defined) -> list[str]:
    """The agents that an agent can ask, as tools or as nodes."""
    tools = (defined.get(("tool", name)) for name in tools_of(agent))
    targets = [tool.target for tool in tools if isinstance(tool, Tool)]
    asked = [target.agent for target in targets if isinstance(target, AgentTarget)]
    nodes = agent.workflow.nodes.values() if agent.workflow else ()
    return list(dict.fromkeys((*asked, *(node.agent for node in nodes if node.agent))))


def _circle(asks: Mapping[str, list[str]], start: str) -> list[str] | None:
    """The shortest way from an agent back to itself."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for other in asks[way[-1]]:
            if other == start:
                return way
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None
