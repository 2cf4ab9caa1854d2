"""An agent's states and the graph of a workflow as Mermaid diagrams, drawn from the code.

The states are those of `TRANSITIONS`, the table that the agent itself goes by: whatever is not
drawn changes nothing.
"""

import re
from collections.abc import Iterator

from processors.agent.machine import TRANSITIONS
from schemas.definitions.patterns import Edge, Node, Workflow

SHAPES = {
    "tool": ("[", "]"),
    "agent": ("[[", "]]"),
    "model": ("{{", "}}"),
    "wait": ("([", "])"),
    "event": (">", "]"),
    "branch": ("{", "}"),
    "fail": ("[/", "/]"),
}
LABEL_CHARS = 60
END = "the_end"


def states() -> str:
    """The states of a session, and which event leads from one to another."""
    edges: dict[tuple[str, str], list[str]] = {}
    for (phase, event), move in TRANSITIONS.items():
        stays = (
            [] if move.stays == {phase} else sorted(move.stays)
        )  # else the run goes on as it was
        for to in [*stays, *(["idle"] if move.ends and phase != "idle" else [])]:
            edges.setdefault((phase, to), []).append(event.__name__)
    lines = [
        "stateDiagram-v2",
        "  [*] --> idle",
        "  note right of idle: a run that ends leads here, and on with the request that waited "
        "longest",
    ]
    return "\n".join(
        [
            *lines,
            *(f"  {start} --> {to}: {', '.join(names)}" for (start, to), names in edges.items()),
        ]
    )


def workflow(graph: Workflow) -> str:
    """The graph of a workflow. Thick arrows are loops, dotted ones are gone when a node fails."""
    lines = ["flowchart TD", f"  begin((start)) --> {_id(graph.start)}"]
    lines += [f"  {_node(name, node)}" for name, node in graph.nodes.items()]
    for name, node in graph.nodes.items():
        lines += [f"  {_id(name)} {line}" for line in _edges(node)]
    if any(line.endswith(END) for line in lines):
        lines.append(f"  {END}((end))")
    return "\n".join(lines)


def _node(name: str, node: Node) -> str:
    says = {
        "tool": node.tool,
        "agent": f"agent {node.agent}",
        "model": f"model {node.model or ''}".strip(),
        "wait": f"{node.seconds or 0:g} s",
        "event": f"signal {node.event}",
        "branch": "",
        "fail": node.message or "the workflow fails",
    }[node.kind]
    if node.timeout_s:
        says += f", at most {node.timeout_s:g} s"
    parts = [
        f"<b>{name}</b>",
        *([_text(says)] if says else []),
        *(["first that comes"] if node.join == "any" else []),
    ]
    if node.compensate:
        parts.append(f"undone by {node.compensate.tool}")
    left, right = SHAPES[node.kind]
    return f'{_id(name)}{left}"{"<br/>".join(parts)}"{right}'


def _edges(node: Node) -> Iterator[str]:
    for case in node.cases:
        yield from (_edge(edge, _text(case.when)) for edge in case.next)
        yield from [f'-->|"{_text(case.when)}"| {END}'] * (not case.next)
    if node.kind == "branch":
        yield from (_edge(edge, "otherwise") for edge in node.otherwise)
        yield from [f"-->|otherwise| {END}"] * (not node.otherwise)
    yield from (_edge(edge, "") for edge in node.next)
    yield from [f"--> {END}"] * (node.kind not in ("branch", "fail") and not node.next)
    for edge in node.on_error:
        yield f"-.->|fails| {_id(edge.to)}" if edge.at_most is None else _edge(edge, "fails")


def _edge(edge: Edge, label: str) -> str:
    if edge.at_most is not None:
        label = f"{label}, at most {edge.at_most} times".removeprefix(", ")
    return f'{"==>" if edge.at_most else "-->"}{f"""|"{label}"|""" if label else ""} {_id(edge.to)}'


def _id(name: str) -> str:
    """`end` and `class` mean something to Mermaid, so no name stands alone."""
    return f"n_{name}"


def _text(words: str) -> str:
    """A quoted text for Mermaid; characters that mean markup are written as entities."""
    short = " ".join(words.split())
    short = short if len(short) <= LABEL_CHARS else short[: LABEL_CHARS - 1] + "…"
    return re.sub(r'[#"<>|`]', lambda found: f"#{ord(found[0])};", short)
