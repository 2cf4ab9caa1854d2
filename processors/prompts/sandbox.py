"""The sandbox of prompt templates: no template can block a worker, fill its memory, or differ in a
replay.

A template has values, conditions and loops. What could double a text again and again (`set`,
macros, blocks), make a giant at once (padding, `%`), or draw lots (`random`, `lipsum`) is not
there; what is left is bounded by its own length, and all of a rendering by the steps that it takes:
the turns of its loops times what stands in them, and the characters and items that its filters and
methods are given.
"""

from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

LOOP_MAX = 1_000
PIECES_MAX, STEPS_MAX = 5_000, 1_000_000
"""Names, texts and filters of a template, and steps of a rendering: the longest, an item to be
sorted, takes 3 microseconds.
"""
TEXT_CHARS_MAX = 400_000
FILTERS = (
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "int",
    "items",
    "last",
    "length",
    "list",
    "lower",
    "max",
    "min",
    "reverse",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "wordcount",
)
METHODS = frozenset(
    {
        "capitalize",
        "count",
        "endswith",
        "find",
        "get",
        "items",
        "keys",
        "lower",
        "lstrip",
        "removeprefix",
        "removesuffix",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
        "values",
    }
)
NODES = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Expr,
    nodes.Keyword,
    nodes.Pair,
    nodes.Operand,
)
WORDS = {
    "Assign": "set",
    "AssignBlock": "set",
    "CallBlock": "call",
    "FilterBlock": "filter",
    "FromImport": "from",
    "With": "with",
}


class RenderError(Exception):
    """A prompt that cannot be made of what was given; a sentence says what is missing or wrong."""


def bounded(turns: Any) -> Any:
    """What a loop goes over. Raises RenderError above a thousand turns."""
    made = turns if hasattr(turns, "__len__") else list(turns)
    if len(made) > LOOP_MAX:
        raise RenderError(f"a loop has more than {LOOP_MAX} turns: loop over less")
    return made


def _take(context: Context, steps: int) -> None:
    """Counts the steps of one rendering, which has a context of its own. Raises RenderError above a
    million.
    """
    taken = getattr(context, "steps", 0) + steps
    setattr(context, "steps", taken)  # noqa: B010  the class of the library does not declare it
    if taken > STEPS_MAX:
        raise RenderError(
            f"it takes more than {STEPS_MAX:,} steps: loop over less, or do less in a loop"
        )


@pass_context
def _looped(context: Context, turns: Any, pieces: int) -> Any:
    """What a loop goes over, each turn of which does so much."""
    made = bounded(turns)
    _take(context, len(made) * pieces)
    return made


@pass_context
def _weighed(context: Context, value: Any) -> Any:
    """What a filter is given."""
    _take(context, 1 + (len(value) if hasattr(value, "__len__") else 0))
    return value


def _short_range(*args: int) -> range:
    return bounded(range(*args))


def _replaced(text: str, old: str, new: str) -> str:
    """Jinja's `replace`, unless the text would become a giant."""
    text, old, new = str(text), str(old), str(new)
    if len(text) + (text.count(old) * len(new)) > TEXT_CHARS_MAX:
        raise RenderError(f"`replace` makes more than {TEXT_CHARS_MAX:,} characters: replace less")
    return text.replace(old, new)


def _joined(parts: Any, by: str = "") -> str:
    """Jinja's `join`, unless the text would become a giant."""
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) + len(texts) * len(str(by)) > TEXT_CHARS_MAX:
        raise RenderError(f"`join` makes more than {TEXT_CHARS_MAX:,} characters: join less")
    return str(by).join(texts)


def _rounded(value: float, digits: int = 0) -> float:
    """Python's own: Jinja's takes ten to the power of `digits`, however many those are."""
    return round(float(value), digits)


OWN = {
    "looped": _looped,
    "weighed": _weighed,
    "join": _joined,
    "replace": _replaced,
    "round": _rounded,
}


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's own, with arithmetic for numbers only, and of the methods those that cannot make a
    giant.
    """

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            _take(context, len(left) + len(right))
        elif operator == "**" or not (
            isinstance(left, int | float) and isinstance(right, int | float)
        ):
            raise RenderError(f"{operator!r} is for numbers here, and powers are not: write it out")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, method: Any, *args: Any, **more: Any) -> Any:
        _take(context, 1 + len(getattr(method, "__self__", None) or ()))
        return super().call(context, method, *args, **more)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return super().is_safe_attribute(obj, attr, value) and (
            not callable(value) or attr in METHODS
        )


def _pieces(node: nodes.Node) -> int:
    return sum(1 for _ in node.find_all(nodes.Node))


class _Counted(NodeTransformer):
    """Puts a bound around what each loop goes over, and a weight on what each filter and `~` is
    given.
    """

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - the name is jinja2's to choose
        self.generic_visit(node)
        pieces = nodes.Const(_pieces(node))
        node.iter = nodes.Filter(node.iter, "looped", [pieces], [], None, None, lineno=node.lineno)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        node.node = nodes.Filter(node.node, "weighed", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Concat:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [
            nodes.Filter(one, "weighed", [], [], None, None, lineno=node.lineno)
            for one in node.nodes
        ]
        return node


SANDBOX = _Sandbox(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
)
SANDBOX.globals = {"range": _short_range}
SANDBOX.filters = {name: SANDBOX.filters[name] for name in FILTERS} | OWN
FOR_PROMPTS = SANDBOX.filters.keys() - {"looped", "weighed"}


def _asked_for(node: nodes.Getattr | nodes.Getitem) -> Any:
    """The name after a dot, or in brackets where it is a text."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) else ""


def refused(parsed: nodes.Template) -> list[str]:
    """What a template has that no template may have, each as a sentence."""
    found = {
        type(node).__name__ for node in parsed.find_all(nodes.Node) if not isinstance(node, NODES)
    }
    said = [
        f"it has {{% {WORDS.get(name, name.lower())} %}}, which no prompt may have: it has values, "
        "if and for"
        for name in sorted(found)
    ]
    names = {node.name for node in parsed.find_all(nodes.Filter)} - FOR_PROMPTS
    said += [
        f"there is no filter {name!r} for prompts: there are {', '.join(sorted(FOR_PROMPTS))}"
        for name in sorted(names)
    ]
    inner = [
        str(name)
        for name in map(_asked_for, parsed.find_all((nodes.Getattr, nodes.Getitem)))
        if str(name).startswith("_")
    ]
    said += [
        f"it asks for {name!r}, which is none of a prompt's business: names that begin with _ are "
        "Python's own"
        for name in sorted(set(inner))
    ]
    if _pieces(parsed) > PIECES_MAX:
        said.append(f"it has more than {PIECES_MAX:,} names, texts and filters: shorten it")
    loops = [*parsed.find_all(nodes.For)]
    if any(loop.recursive for loop in loops):
        said.append("it has a recursive loop: write the levels out")
    if any(inner.find(nodes.For) for loop in loops for inner in loop.find_all(nodes.For)):
        said.append("it has loops three deep: two are the most")
    return said


def parsed(text: str) -> nodes.Template:
    """A template's tree. Raises RenderError."""
    try:
        return SANDBOX.parse(text)
    except (TemplateError, RecursionError) as error:
        raise RenderError(f"it is no template: {error}: correct it") from error


@lru_cache(maxsize=500)
def template(text: str) -> Template:
    """A template that may be rendered. Raises RenderError."""
    tree = parsed(text)
    wrong = refused(tree)
    if wrong:
        raise RenderError("; ".join(wrong))
    return SANDBOX.from_string(_Counted().visit(tree))
