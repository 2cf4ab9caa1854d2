"""How an agent works: plan, critique and workflow."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from schemas.events.base import Value
from schemas.events.values import Label

Pattern = Literal["single", "loop", "plan", "critique", "workflow"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
NodeName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,49}$")]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]
Expression = str
"""CEL over `input` and `nodes`. In `arguments` every text is one; anything else stands for itself.
"""


class Plan(Value):
    """Plan, then execute: how many steps a plan may have, how often one may be made anew after a
    failure.
    """

    steps: Annotated[int, Field(ge=1, le=50)] = 8
    replans: Annotated[int, Field(ge=0, le=10)] = 2
    prompt: str = ""


class Critique(Value):
    """Draft, critique, revise: at most so many rounds, by this prompt, and by another model where
    one is named.
    """

    rounds: Annotated[int, Field(ge=1, le=10)] = 2
    prompt: str = ""
    model: Name | None = None


class Edge(Value):
    """The way to a node. One that leads back says how often it may be gone."""

    to: NodeName
    at_most: Annotated[int, Field(ge=1, le=1_000)] | None = None


def _edges(given: Any) -> Any:
    """A name, an edge, or a list of both."""
    given = given if isinstance(given, list | tuple) else [given]
    return [{"to": one} if isinstance(one, str) else one for one in given]


class Case(Value):
    """Where a branch goes when the condition is true. The first that is decides."""

    when: Expression
    next: tuple[Edge, ...] = ()

    _read = field_validator("next", mode="before")(_edges)

    @field_validator("when", mode="before")
    @classmethod
    def _said(cls, given: Any) -> Any:
        """YAML reads a bare `true` as one."""
        return str(given).lower() if isinstance(given, bool) else given


class Compensation(Value):
    """What undoes a tool's work when the workflow fails later. Its arguments are worked out when
    the work is done.
    """

    tool: Name
    arguments: dict[str, Any] = {}


class Node(Value):
    """One node of a workflow. `next` are all gone at once; without one the way ends here.

    tool: `tool`, `arguments`, `compensate`. agent: `agent`, `task`. model: `prompt`, `system`,
    `model`. wait: `seconds`. event: `event` (the name of a signal), `timeout_s`. branch: `cases`,
    `otherwise`. fail: `message`; the workflow fails, and what was done is undone. `on_error` is
    where it goes on when the node fails; without one the workflow fails. `join` says of a node to
    which several ways lead whether it waits for all of those that are still gone, or begins at the
    first: other ways that only wait are given up then.
    """

    kind: Literal["tool", "agent", "model", "wait", "event", "branch", "fail"]
    next: tuple[Edge, ...] = ()
    on_error: tuple[Edge, ...] = ()
    join: Literal["all", "any"] = "all"
    tool: Name | None = None
    arguments: dict[str, Any] = {}
    compensate: Compensation | None = None
    agent: Name | None = None
    task: Expression | None = None
    prompt: Expression | None = None
    system: str | None = None
    model: Name | None = None
    seconds: Seconds | None = None
    event: Annotated[Label, Field(min_length=1)] | None = None
    timeout_s: Seconds | None = None
    message: Expression | None = None
    cases: tuple[Case, ...] = ()
    otherwise: tuple[Edge, ...] = ()

    _read = field_validator("next", "on_error", "otherwise", mode="before")(_edges)


class Workflow(Value):
    """A graph of nodes by name. It begins at `start`, and ends with `answer`: what the node that
    ended last said, unless an expression says otherwise.
    """

    start: NodeName
    nodes: Annotated[dict[NodeName, Node], Field(min_length=1, max_length=100)]
    answer: Expression | None = None
