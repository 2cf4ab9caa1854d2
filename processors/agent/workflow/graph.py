"""Which nodes of a workflow may begin now, which never will, and is a way back open?

An edge is undecided, gone, or never to be gone. A node begins when the edges to it allow it; it is
dead when all of them never will be gone, and what hangs on it alone dies with it. A loop is an edge
that says how often it may be gone: when it is, all that follows its target is forgotten, and the
target begins again once what still works there is over.
"""

from collections.abc import Iterator
from dataclasses import replace

from processors.agent.progress import Flow, Spot, State
from schemas.definitions.patterns import Edge, Node, Workflow


def edges_of(node: Node) -> Iterator[Edge]:
    """Every edge that leaves a node, whatever it is gone for."""
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
    for name, node in workflow.nodes.items():
        for edge in edges_of(node):
            if edge.at_most is not None:
                yield name, edge


def reach(workflow: Workflow, start: str) -> frozenset[str]:
    """A node and all that can follow it without a loop."""
    found, queue = {start}, [start]
    while queue:
        node = workflow.nodes.get(queue.pop())
        new = [
            name
            for name in (onward(node) if node else ())
            if name in workflow.nodes and name not in found
        ]
        found.update(new)
        queue.extend(new)
    return frozenset(found)


def begin(flow: Flow, name: str, spot: Spot) -> Flow:
    return replace(
        flow,
        spots={**flow.spots, name: spot},
        counts={**flow.counts, name: flow.counts.get(name, 0) + 1},
    )


def end(flow: Flow, workflow: Workflow, name: str, state: State, gone: tuple[Edge, ...]) -> Flow:
    """A node is over, and these of its edges are gone; its other ones never will be, in this round."""
    node = workflow.nodes[name]
    flow = replace(
        flow, spots={**flow.spots, name: Spot(state)}, last=name if state == "done" else flow.last
    )
    loop = next((edge for edge in gone if edge.at_most is not None), None)
    if loop is not None:
        return replace(flow, loops=(*flow.loops, (name, loop.to)))
    chosen = {edge.to for edge in gone}
    return replace(
        flow, ways={**flow.ways, **{f"{name}>{to}": to in chosen for to in onward(node)}}
    )


def usable(flow: Flow, name: str, edges: tuple[Edge, ...]) -> bool:
    """May these edges be gone? A loop that was gone as often as it may is not gone again."""
    return all(
        edge.at_most is None or flow.rounds.get(f"{name}>{edge.to}", 0) < edge.at_most
        for edge in edges
    )


def settle(workflow: Workflow, flow: Flow) -> tuple[Flow, tuple[str, ...]]:
    """The flow with all that follows from what is decided, and the nodes that begin now.

    They begin in the order of their names: a definition has its keys sorted on its way here, so the
    file's is lost.
    """
    sources = sources_of(workflow)
    for name in [name for name, spot in flow.spots.items() if _idle(workflow, flow, name, spot)]:
        flow = end(flow, workflow, name, "dead", ())
    flow = _looped(workflow, flow)
    changed = True
    while changed:
        changed = False
        for name in sorted(workflow.nodes):
            if name not in flow.spots and _standing(workflow, flow, name, sources) == "dead":
                flow, changed = end(flow, workflow, name, "dead", ()), True
    return flow, tuple(
        name
        for name in sorted(workflow.nodes)
        if name not in flow.spots and _standing(workflow, flow, name, sources) == "ready"
    )


def _idle(workflow: Workflow, flow: Flow, name: str, spot: Spot) -> bool:
    """Does a node wait for nothing that matters any more, because all that could follow it has
    begun by another way?
    """
    if spot.state != "open" or workflow.nodes[name].kind not in ("wait", "event"):
        return False
    after = reach(workflow, name) - {name}
    return bool(after) and after <= flow.spots.keys()


def sources_of(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    """From which nodes edges lead to each, loops left out."""
    found: dict[str, tuple[str, ...]] = {}
    for source, node in workflow.nodes.items():
        for target in onward(node):
            found[target] = (*found.get(target, ()), source)
    return found


def entered(flow: Flow, name: str) -> Flow:
    """The flow with an edge to this node gone from outside, as at the start."""
    return replace(flow, ways={**flow.ways, f">{name}": True})


def _looped(workflow: Workflow, flow: Flow) -> Flow:
    for source, target in flow.loops:
        again = reach(workflow, target)
        if any(name in again and spot.state == "open" for name, spot in flow.spots.items()):
            continue  # what works in the round comes to its end first
        way = f"{source}>{target}"
        inner = {
            f"{name}>{edge.to}"
            for name, edge in loops_of(workflow)
            if name in again and edge.to in again - {target}
        }
        flow = replace(
            flow,
            loops=tuple(loop for loop in flow.loops if loop[0] not in again),
            spots={name: spot for name, spot in flow.spots.items() if name not in again},
            ways={one: gone for one, gone in flow.ways.items() if not _inside(one, again)},
            rounds={one: count for one, count in flow.rounds.items() if one not in inner}
            | {way: flow.rounds.get(way, 0) + 1},
        )
        return _looped(workflow, entered(flow, target))
    return flow


def _inside(way: str, again: frozenset[str]) -> bool:
    source, _, target = way.partition(">")
    return source in again or (not source and target in again)


def _standing(
    workflow: Workflow, flow: Flow, name: str, sources: dict[str, tuple[str, ...]]
) -> str:
    """Is a node that has not begun `ready`, `dead`, or does it wait (empty)?"""
    if flow.ways.get(f">{name}"):
        return "ready"
    ways = [flow.ways.get(f"{source}>{name}") for source in sources.get(name, ())]
    if any(ways) and (workflow.nodes[name].join == "any" or None not in ways):
        return "ready"
    return "dead" if None not in ways and not any(ways) else ""
