"""What may a template do, so that no prompt can hold a worker up, fill its memory, or say another thing in a replay?

A template has values, conditions and loops. What could double a text again and again (`set`, macros, blocks), make a
giant at once (padding, `%`), or draw lots (`random`, `lipsum`) is not there; what is left is bounded by its own length.
"""

from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

LOOP_MAX = 1_000
TEXT_CHARS_MAX = 400_000
FILTERS = ("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "int", "items", "last",
           "length", "list", "lower", "max", "min", "reverse", "sort", "string", "striptags", "sum", "title",
           "tojson", "trim", "truncate", "unique", "upper", "wordcount")
METHODS = frozenset({"capitalize", "count", "endswith", "find", "get", "items", "keys", "lower", "lstrip", "removeprefix",
                     "removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper", "values"})
NODES = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Expr, nodes.Keyword, nodes.Pair, nodes.Operand)
WORDS = {"Assign": "set", "AssignBlock": "set", "CallBlock": "call", "FilterBlock": "filter", "FromImport": "from", "With": "with"}


class Unrendered(Exception):
    """A prompt that cannot be made of what was given; a sentence says what is missing or wrong."""


def bounded(turns: Any) -> Any:
    """What a loop goes over. Raises Unrendered above a thousand turns."""
    made = turns if hasattr(turns, "__len__") else list(turns)
    if len(made) > LOOP_MAX:
        raise Unrendered(f"a loop has more than {LOOP_MAX} turns: loop over less")
    return made


def _short_range(*args: int) -> range:
    return bounded(range(*args))


def _replaced(text: str, old: str, new: str) -> str:
    """Jinja's `replace`, unless the text would become a giant."""
    text, old, new = str(text), str(old), str(new)
    if len(text) + (text.count(old) * len(new)) > TEXT_CHARS_MAX:
        raise Unrendered(f"`replace` makes more than {TEXT_CHARS_MAX:,} characters: replace less")
    return text.replace(old, new)


def _joined(parts: Any, by: str = "") -> str:
    """Jinja's `join`, unless the text would become a giant."""
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) + len(texts) * len(str(by)) > TEXT_CHARS_MAX:
        raise Unrendered(f"`join` makes more than {TEXT_CHARS_MAX:,} characters: join less")
    return str(by).join(texts)


def _rounded(value: float, digits: int = 0) -> float:
    """Python's own: Jinja's takes ten to the power of `digits`, however many those are."""
    return round(float(value), digits)


OWN = {"bounded": bounded, "join": _joined, "replace": _replaced, "round": _rounded}


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's own, with arithmetic for numbers only, and of the methods those that cannot make a giant."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise Unrendered(f"{operator!r} is for numbers here, and powers are not: write it out")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return super().is_safe_attribute(obj, attr, value) and (not callable(value) or attr in METHODS)


class _Loops(NodeTransformer):
    """Puts a bound around what each loop goes over."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - the name is jinja2's to choose
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "bounded", [], [], None, None, lineno=node.lineno)
        return node


SANDBOX = _Sandbox(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False)
SANDBOX.globals = {"range": _short_range}
SANDBOX.filters = {name: SANDBOX.filters[name] for name in FILTERS} | OWN


def refused(parsed: nodes.Template) -> list[str]:
    """What a template has that no template may have, each as a sentence."""
    found = {type(node).__name__ for node in parsed.find_all(nodes.Node) if not isinstance(node, NODES)}
    said = [f"it has {{% {WORDS.get(name, name.lower())} %}}, which no prompt may have: it has values, if and for"
            for name in sorted(found)]
    names = {node.name for node in parsed.find_all(nodes.Filter)} - SANDBOX.filters.keys()
    said += [f"there is no filter {name!r} for prompts: there are {', '.join(sorted(SANDBOX.filters))}" for name in sorted(names)]
    loops = [*parsed.find_all(nodes.For)]
    if any(loop.recursive for loop in loops):
        said.append("it has a recursive loop: write the levels out")
    if any(inner.find(nodes.For) for loop in loops for inner in loop.find_all(nodes.For)):
        said.append("it has loops three deep: two are the most")
    return said


def parsed(text: str) -> nodes.Template:
    """A template's tree. Raises Unrendered."""
    try:
        return SANDBOX.parse(text)
    except (TemplateError, RecursionError) as error:
        raise Unrendered(f"it is no template: {error}: correct it") from error


@lru_cache(maxsize=500)
def template(text: str) -> Template:
    """A template that may be rendered. Raises Unrendered."""
    tree = parsed(text)
    wrong = refused(tree)
    if wrong:
        raise Unrendered("; ".join(wrong))
    return SANDBOX.from_string(_Loops().visit(tree))
