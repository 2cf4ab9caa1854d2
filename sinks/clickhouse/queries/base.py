"""A named query, and the parameters that all of them share.

Each needs no FINAL and no join, and takes parameters in ClickHouse's own form, `{name:Type}`. The
values that stand with a query are used unless others are given; an empty tenant means all of them.
"""

import shlex
from dataclasses import dataclass, field
from typing import Any

MINE = "({tenant:String} = '' OR tenant = {tenant:String})"
LATELY = "hour >= toStartOfHour(now('UTC') - INTERVAL {hours:UInt32} HOUR)"
SINCE = "at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR"


@dataclass(frozen=True)
class Query:
    """A ready query: its name, whom it serves for what, the SQL, and the parameters' values unless
    others are given.
    """

    name: str
    purpose: str
    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def example(self) -> str:
        """The command that asks it, with every parameter as it is unless given."""
        given = [shlex.quote(f"{name}={value}") for name, value in self.parameters.items()]
        return " -p ".join((f"./weir query --named {self.name}", *given))


def lately(**more: Any) -> dict[str, Any]:
    """The parameters of a query that looks back from now."""
    return {"tenant": "", "hours": 24} | more
