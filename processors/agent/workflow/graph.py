"""The graph of a workflow: which nodes may begin now, which never will, and which loops are open.

An edge is undecided, taken, or never to be taken. A node begins when the edges to it allow it; it
is dead when none of them will ever be taken, and what hangs on it alone dies with it. A loop is an
edge that says how often it may be taken: when it is, all that follows its target is forgotten, and
the target begins again once what still works there is over.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from processors.agent.modes import NodeState, NodeStatus, WorkflowMode
from schemas.definitions.patterns import Edge, Node, Workflow


def edges_of(node: Node) -> Iterator[Edge]:
    """Every edge that leaves a node, whatever it is taken for."""
    yield from node.next
    for case in node.cases:
        yield from case.next
    yield from node.otherwise
    yield from node.on_error


def onward(node: Node) -> tuple[str, ...]:
    """The targets of a node's edges that are no loops."""
    return tuple(dict.fromkeys(edge.to for edge in edges_of(node) if edge.at_most is None))


def tools_in(workflow: Workflow) -> Iterator[str]:
    """The tools that the nodes call, and those that undo what they did."""
    for node in workflow.nodes.values():
        yield from [node.tool] if node.tool else []
        yield from [node.compensate.tool] if node.compensate else []


def loops_of(workflow: Workflow) -> Iterator[tuple[str, Edge]]:
    """The edges that are loops, each with the node that it leaves."""
    for name, node in workflow.nodes.items():
        for edge in edges_of(node):
            if edge.at_most is not None:
                yield name, edge


def reach(workflow: Workflow, start: str) -> frozenset[str]:
    """A node and all that can follow it without a loop."""
    found = {start}
    queue = [start]
    while queue:
        node = workflow.nodes.get(queue.pop())
        for name in onward(node) if node else ():
            if name in workflow.nodes and name not in found:
                found.add(name)
                queue.append(name)
    return frozenset(found)


def begin(mode: WorkflowMode, name: str, state: NodeState) -> WorkflowMode:
    """The workflow after a node began."""
    return replace(
        mode,
        nodes={**mode.nodes, name: state},
        counts={**mode.counts, name: mode.counts.get(name, 0) + 1},
    )


def end(
    mode: WorkflowMode,
    workflow: Workflow,
    name: str,
    status: NodeStatus,
    taken: tuple[Edge, ...],
) -> WorkflowMode:
    """The workflow after the end of a node that took these of its edges. The other ones are never
    taken in this round.
    """
    mode = replace(
        mode,
        nodes={**mode.nodes, name: NodeState(status)},
        last=name if status == "done" else mode.last,
    )
    loop = next((edge for edge in taken if edge.at_most is not None), None)
    if loop is not None:
        return replace(mode, loops=(*mode.loops, (name, loop.to)))
    chosen = {edge.to for edge in taken}
    decided = {f"{name}>{to}": to in chosen for to in onward(workflow.nodes[name])}
    return replace(mode, edges={**mode.edges, **decided})


def usable(mode: WorkflowMode, name: str, edges: tuple[Edge, ...]) -> bool:
    """Whether these edges may be taken. A loop that was taken as often as it may is not taken
    again.
    """
    return all(
        edge.at_most is None or mode.rounds.get(f"{name}>{edge.to}", 0) < edge.at_most
        for edge in edges
    )


def settle(workflow: Workflow, mode: WorkflowMode) -> tuple[WorkflowMode, tuple[str, ...]]:
    """The workflow with all that follows from what is decided, and the nodes that begin now.

    They begin in the order of their names: a definition has its keys sorted on its way here, so the
    file's is lost.
    """
    sources = sources_of(workflow)
    for name in [name for name in mode.nodes if _idle(workflow, mode, name)]:
        mode = end(mode, workflow, name, "dead", ())
    mode = _looped(workflow, mode)
    changed = True
    while changed:
        changed = False
        for name in sorted(workflow.nodes):
            if _prospect(workflow, mode, name, sources) == "dead":
                mode = end(mode, workflow, name, "dead", ())
                changed = True
    names = sorted(workflow.nodes)
    ready = (name for name in names if _prospect(workflow, mode, name, sources) == "ready")
    return mode, tuple(ready)


def _idle(workflow: Workflow, mode: WorkflowMode, name: str) -> bool:
    """Whether a node waits for nothing that matters any more, because all that could follow it has
    begun by other edges.
    """
    if mode.nodes[name].status != "open" or workflow.nodes[name].kind not in ("wait", "event"):
        return False
    after = reach(workflow, name) - {name}
    return bool(after) and after <= mode.nodes.keys()


def sources_of(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    """The nodes from which edges lead to each node, loops left out."""
    found: dict[str, tuple[str, ...]] = {}
    for source, node in workflow.nodes.items():
        for target in onward(node):
            found[target] = (*found.get(target, ()), source)
    return found


def entered(mode: WorkflowMode, name: str) -> WorkflowMode:
    """The workflow with an edge to this node taken from outside, as at the start."""
    return replace(mode, edges={**mode.edges, f">{name}": True})


def _looped(workflow: Workflow, mode: WorkflowMode) -> WorkflowMode:
    """The workflow with the loops taken whose round is over."""
    for source, target in mode.loops:
        again = reach(workflow, target)
        if any(mode.nodes[name].status == "open" for name in again & mode.nodes.keys()):
            continue  # what works in the round comes to its end first
        loop = f"{source}>{target}"
        inner = {
            f"{name}>{edge.to}"
            for name, edge in loops_of(workflow)
            if name in again and edge.to in again - {target}
        }
        rounds = {one: count for one, count in mode.rounds.items() if one not in inner}
        rounds[loop] = mode.rounds.get(loop, 0) + 1
        mode = replace(
            mode,
            loops=tuple(one for one in mode.loops if one[0] not in again),
            nodes={name: state for name, state in mode.nodes.items() if name not in again},
            edges={one: taken for one, taken in mode.edges.items() if not _inside(one, again)},
            rounds=rounds,
        )
        return _looped(workflow, entered(mode, target))
    return mode


def _inside(edge: str, again: frozenset[str]) -> bool:
    """Whether a decided edge belongs to a round that begins anew."""
    source, _, target = edge.partition(">")
    return source in again or (not source and target in again)


def _prospect(
    workflow: Workflow, mode: WorkflowMode, name: str, sources: dict[str, tuple[str, ...]]
) -> Literal["begun", "ready", "dead", "undecided"]:
    """Whether a node has begun, may begin now, never will, or has to wait for other nodes."""
    if name in mode.nodes:
        return "begun"
    if mode.edges.get(f">{name}"):
        return "ready"
    edges = [mode.edges.get(f"{source}>{name}") for source in sources.get(name, ())]
    undecided = None in edges
    if any(edges):
        return "ready" if workflow.nodes[name].join == "any" or not undecided else "undecided"
    return "undecided" if undecided else "dead"
