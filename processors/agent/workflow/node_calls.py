"""Ids of the calls of a workflow's nodes: `node#count`, or `undo:node#step` of a compensation."""

COMPENSATION = "undo:"


def call_of_node(node: str, count: int) -> str:
    """The call of a node that begins for the `count`th time."""
    return f"{node}#{count}"


def compensation_call(node: str, step: int) -> str:
    """The call that undoes a node's work in this step of the run."""
    return f"{COMPENSATION}{node}#{step}"


def node_of(call: str) -> str:
    """The node of a call, or of the call that it undoes."""
    return call.rpartition("#")[0].removeprefix(COMPENSATION)


def is_compensation(call: str) -> bool:
    """Whether a call undoes what its node did."""
    return call.startswith(COMPENSATION)
