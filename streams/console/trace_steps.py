"""The steps of a trace as a waterfall and a call graph, for any parents.

A trace may come from anybody: parents that are missing, refer to themselves, or form a cycle change
nothing but the order; no step is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from html import escape
from typing import Any

from streams.console.page import seen

DEPTH_SHOWN = 8
NODES_SHOWN = 60
BOX_WIDTH = 218
BOX_HEIGHT = 40
GAP_X = 46
GAP_Y = 10
NAME_CHARS = 30
Span = dict[str, Any]


def depth_first(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """Every step once, each after its parent, with its depth."""
    places = {
        span["span"]: place for place, span in reversed([*enumerate(spans)])
    }  # of two with one id, the first
    parts: dict[int, list[int]] = {}
    roots = []
    for place, span in enumerate(spans):
        above = places.get(span["parent"], place) if span["parent"] else place
        (roots if above == place else parts.setdefault(above, [])).append(place)
    told: list[tuple[int, Span]] = []
    seen: set[int] = set()
    for first in (
        *roots,
        *range(len(spans)),
    ):  # what stands in a circle hangs from no root: it comes last
        left = [(first, 0)]
        while left:
            place, depth = left.pop()
            if place not in seen:
                seen.add(place)
                told.append((depth, spans[place]))
                left += [(part, depth + 1) for part in reversed(parts.get(place, []))]
    return told


def with_positions(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, with depth, and the start and width of their bars, in thousandths of the
    whole.
    """
    if not spans:
        return []
    began = min(span["started_at"] for span in spans)
    whole = (
        max((span["started_at"] - began).total_seconds() * 1000 + span["wait_ms"] for span in spans)
        or 1
    )
    return [
        span
        | {
            "x": round((span["started_at"] - began).total_seconds() * 1_000_000 / whole, 1),
            "depth": min(depth, DEPTH_SHOWN),
            "w": max(2, round(span["wait_ms"] * 1000 / whole, 1)),
        }
        for depth, span in depth_first(spans)
    ]


@dataclass
class CallNode:
    """All calls of one name by the same caller."""

    name: str
    operation: str = ""
    calls: int = 0
    errors: int = 0
    wait_ms: int = 0
    cost_usd: Decimal | None = None
    parts: dict[str, "CallNode"] = field(default_factory=dict)

    def add(self, span: Span) -> None:
        self.operation = span["operation"]
        self.calls += 1
        self.errors += span["status"] == "error"
        self.wait_ms += span["wait_ms"]
        if span["cost_usd"] is not None:
            self.cost_usd = (self.cost_usd or Decimal(0)) + span["cost_usd"]

    @property
    def told(self) -> str:
        errors = f", {self.errors} failed" if self.errors else ""
        cost = "" if self.cost_usd is None else f", ${self.cost_usd:,.6f}"
        return f"{self.calls} ×, {self.wait_ms:,} ms{cost}{errors}"


def call_tree(spans: Sequence[Span]) -> CallNode:
    """The trace with calls of one name by one caller added up."""
    top = CallNode("")
    above = [top]
    for depth, span in depth_first(spans):
        del above[min(depth, DEPTH_SHOWN) + 1 :]
        node = above[-1].parts.setdefault(span["name"], CallNode(seen(span["name"])))
        node.add(span)
        above.append(node)
    return top


def all_nodes(node: CallNode) -> Iterator[CallNode]:
    yield node
    for part in node.parts.values():
        yield from all_nodes(part)


def graph(spans: Sequence[Span]) -> str:
    """The call graph as an SVG from left to right; empty where nothing was called."""
    boxes: list[tuple[int, float, CallNode]] = []
    lines: list[str] = []
    rows = [0]

    def put(node: CallNode, column: int) -> float:
        """Places what a node calls below each other and the node at the height of the first. Its
        own height.
        """
        heights = [
            put(part, column + 1) for part in node.parts.values() if len(boxes) < NODES_SHOWN
        ]
        if not heights:
            rows[0] += 1
        y = heights[0] if heights else (rows[0] - 1) * (BOX_HEIGHT + GAP_Y)
        if column >= 0:
            boxes.append((column, y, node))
            lines.extend(_line(column, y, below) for below in heights)
        return y

    top = call_tree(spans)
    put(top, -1)
    if not boxes:
        return ""
    if left := sum(1 for _ in all_nodes(top)) - 1 - len(boxes):
        lines.append(
            f'<text class="tick" x="4" y="{rows[0] * (BOX_HEIGHT + GAP_Y) + 16}">{left:,} more are not drawn</text>'
        )
    width = (max(column for column, _, _ in boxes) + 1) * (BOX_WIDTH + GAP_X)
    says = "; ".join(f"{node.name} {node.told}" for _, _, node in reversed(boxes))
    return (
        f'<svg class="graph" width="{width}" height="{rows[0] * (BOX_HEIGHT + GAP_Y) + (24 if left else 0)}" role="img" '
        f'aria-label="{escape(says)}">{"".join(lines)}{"".join(_box(*box) for box in boxes)}</svg>'
    )


def _line(column: int, y: float, below: float) -> str:
    x = column * (BOX_WIDTH + GAP_X) + BOX_WIDTH
    at = y + BOX_HEIGHT / 2
    to = below + BOX_HEIGHT / 2
    return f'<path class="edge" d="M{x} {at} h{GAP_X / 2} V{to} h{GAP_X / 2}"/>'


def _box(column: int, y: float, node: CallNode) -> str:
    x = column * (BOX_WIDTH + GAP_X) + 1
    short = node.name if len(node.name) <= NAME_CHARS else node.name[: NAME_CHARS - 1] + "…"
    return (
        f'<g class="{escape(node.operation)}{" error" if node.errors else ""}"><title>{escape(node.name)}: {node.told}</title>'
        f'<rect class="box" x="{x}" y="{y + 1}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<rect x="{x}" y="{y + 1}" width="5" height="{BOX_HEIGHT}"/>'
        f'<text x="{x + 12}" y="{y + 17}">{escape(short)}</text>'
        f'<text class="tick" x="{x + 12}" y="{y + 32}">{escape(node.told)}</text></g>'
    )
