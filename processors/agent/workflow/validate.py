"""Mistakes in a workflow's graph, found before anything runs: edges to nowhere, endless loops and
fields without meaning.

Each mistake is a location in the definition and a sentence.
"""

from collections.abc import Iterator
from typing import Any

from processors.agent.workflow.graph import edges_of, loops_of, onward, reach
from processors.common.cel_expressions import nodes_in, wrong_with
from schemas.definitions.patterns import Edge, Node, Workflow

Location = tuple[str | int, ...]
Mistake = tuple[Location, str]

NEEDS = {
    "tool": {"tool"},
    "agent": {"agent"},
    "model": set(),
    "wait": {"seconds"},
    "event": {"event"},
    "branch": {"cases"},
    "fail": set(),
}
MAY = {
    "tool": {"arguments", "compensate"},
    "agent": {"task", "compensate"},
    "model": {"prompt", "system", "model"},
    "wait": set(),
    "event": {"timeout_s"},
    "branch": {"otherwise"},
    "fail": {"message"},
}
ALWAYS = {"kind", "join", "on_error"}


def mistakes(workflow: Workflow) -> list[Mistake]:
    """All mistakes, in the order of the file."""
    if workflow.start not in workflow.nodes:
        return [
            (
                ("start",),
                f"there is no node {workflow.start!r}: the nodes are {', '.join(workflow.nodes)}",
            )
        ]
    found: list[Mistake] = []
    for name, node in workflow.nodes.items():
        for check in (_fields, _edges, _expressions):
            found += check(workflow, name, node)
    if not found:
        found = [*_unreachable(workflow), *_circles(workflow), *_loops(workflow)]
    if workflow.answer is not None:
        found += _expression(workflow, None, ("answer",), workflow.answer)
    return found


def _fields(workflow: Workflow, name: str, node: Node) -> Iterator[Mistake]:
    present = node.model_fields_set
    for field in sorted(NEEDS[node.kind] - present):
        yield ("nodes", name), f"a node of kind {node.kind} needs `{field}`: add it"
    own = NEEDS[node.kind] | MAY[node.kind] | ALWAYS
    if node.kind == "fail":
        own -= {"on_error"}
    elif node.kind != "branch":
        own |= {"next"}
    for field in sorted(present - own):
        advice = "remove it"
        if (node.kind, field) == ("branch", "next"):
            advice = "say it in its cases and `otherwise`"
        yield ("nodes", name, field), f"a node of kind {node.kind} has no `{field}`: {advice}"


def _groups(node: Node) -> Iterator[tuple[Location, tuple[Edge, ...]]]:
    """The edges that are taken together, and their location."""
    yield ("next",), node.next
    yield from ((("cases", nth, "next"), case.next) for nth, case in enumerate(node.cases))
    yield ("otherwise",), node.otherwise
    yield ("on_error",), node.on_error


def _edges(workflow: Workflow, name: str, node: Node) -> Iterator[Mistake]:
    for location, edges in _groups(node):
        where = ("nodes", name, *location)
        for edge in edges:
            if edge.to not in workflow.nodes:
                yield (
                    where,
                    f"there is no node {edge.to!r}: the nodes are {', '.join(workflow.nodes)}",
                )
        if len(edges) > 1 and any(edge.at_most is not None for edge in edges):
            yield (
                where,
                "a way back stands alone: what follows its target is forgotten, "
                "so nothing can go on beside it",
            )


def _expressions(workflow: Workflow, name: str, node: Node) -> Iterator[Mistake]:
    here = ("nodes", name)
    for field in ("task", "prompt", "message"):
        if getattr(node, field) is not None:
            yield from _expression(workflow, name, (*here, field), getattr(node, field))
    for nth, case in enumerate(node.cases):
        yield from _expression(workflow, name, (*here, "cases", nth, "when"), case.when)
    for location, text in _texts(node.arguments, (*here, "arguments")):
        yield from _expression(workflow, name, location, text)
    if node.compensate:
        for location, text in _texts(node.compensate.arguments, (*here, "compensate", "arguments")):
            yield from _expression(workflow, name, location, text, itself=True)


def _texts(value: Any, location: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _texts(one, (*location, name))
    elif isinstance(value, list | tuple):
        for nth, one in enumerate(value):
            yield from _texts(one, (*location, nth))


def _expression(
    workflow: Workflow, name: str | None, location: Location, text: str, itself: bool = False
) -> Iterator[Mistake]:
    wrong = wrong_with(text)
    if wrong:
        yield location, f"the expression {text!r} cannot be used: {wrong}"
        return
    for other in dict.fromkeys(nodes_in(text)):
        if other not in workflow.nodes:
            yield location, f"there is no node {other!r}: the nodes are {', '.join(workflow.nodes)}"
        elif (
            name is not None
            and not (itself and other == name)
            and name not in _after(workflow, other)
        ):
            yield location, f"node {other!r} never comes before this one, so it has no result here"


def _after(workflow: Workflow, name: str) -> set[str]:
    """The nodes that can come after a node, over loops too."""
    found: set[str] = set()
    queue = [name]
    while queue:
        node = workflow.nodes.get(queue.pop())
        new = {edge.to for edge in edges_of(node)} - found if node else set()
        found |= new
        queue.extend(new)
    return found


def _unreachable(workflow: Workflow) -> Iterator[Mistake]:
    found = reach(workflow, workflow.start)
    for name in workflow.nodes:
        if name not in found:
            yield (
                ("nodes", name),
                f"no way leads from {workflow.start!r} to node {name!r}: "
                "add one, or remove the node",
            )


def _circles(workflow: Workflow) -> Iterator[Mistake]:
    """The loops without a bound: edges back to a node on the path from the start."""
    done: set[str] = set()
    path = [(workflow.start, iter(onward(workflow.nodes[workflow.start])))]
    while path:
        name, targets = path[-1]
        target = next(targets, None)
        if target is None:
            done.add(name)
            path.pop()
        elif target in (node for node, _ in path):
            location = next(
                location
                for location, edges in _groups(workflow.nodes[name])
                if target in (edge.to for edge in edges)
            )
            yield (
                ("nodes", name, *location),
                (
                    f"{target!r} leads to {name!r} and this way back to it, without a bound: "
                    f"write {{to: {target}, at_most: N}}"
                ),
            )
        elif target not in done:
            path.append((target, iter(onward(workflow.nodes[target]))))


def _loops(workflow: Workflow) -> Iterator[Mistake]:
    for name, edge in loops_of(workflow):
        if name not in reach(workflow, edge.to):
            location = next(
                location for location, edges in _groups(workflow.nodes[name]) if edge in edges
            )
            yield (
                ("nodes", name, *location),
                f"the way to {edge.to!r} leads onward, not back: leave `at_most` out",
            )
