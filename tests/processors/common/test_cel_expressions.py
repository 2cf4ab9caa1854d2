"""Is an expression worth what CEL says, and is none let in that would hang a worker, end it, or
differ in a replay?
"""

import pytest

from processors.common.cel_expressions import ExpressionError, nodes_in, value_of, wrong_with

JSON = {"people": 3, "items": [{"price": 4.5}, {"price": 12.0}], "by": {"a": 1, "b": 2}}
KNOWS = {
    "input": {
        "text": "hi",
        "json": JSON,
        "many": list(range(1_001)),
        "hundred": list(range(100)),
        "more": list(range(101)),
    },
    "nodes": {"train": {"result": {"price": 9.5}, "error": "", "count": 1}},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("input.json.people > 2", True),
        ("input.text + '!'", "hi!"),
        ("nodes.train.result.price + 0.5", 10.0),
        ("nodes['train'].result.price < 10.0 && !has(nodes.hut)", True),
        ("input.json.items.exists(i, i.price > 10.0)", True),
        ("input.json.items.map(i, i.price)", [4.5, 12.0]),
        ("{'b': 1, 'a': [null, 2.5]}", {"a": [None, 2.5], "b": 1}),
        ("string(input.json.people)", "3"),
        ("input.hundred.all(i, input.hundred.exists(j, i == j))", True),
    ],
)
def test_a_value_is_what_cel_says(expression, value):
    assert wrong_with(expression) is None
    assert value_of(expression, KNOWS) == value


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "empty"),
        ("1 +", "Syntax error"),
        ("people > 2", "speaks of 'people'"),
        ("now()", "no function 'now'"),
        ("x" * 1_001, "1,001 characters"),
        ("input" + ".a" * 100_000, "characters"),
        ("-" * 100_000 + "1", "characters"),
        ("[1, 2].map(i, i)", "right behind a list"),
        ("input.a.filter(i, i > 1).map(i, i)", "right behind a list"),
        ("input.a.map(i, i.b.map(j, j))", "right behind a list"),
        ("input.a. map(i, i)", "right behind a list"),
        ("input.a.map//\n(i, i)", "right behind a list"),
        ("input.a.all(i, input.b.all(j, input.c.all(k, true)))", "walks 3 lists"),
        ("input.a.map(nodes, nodes)", "a name of its own"),
        ("(" * 300 + "1" + ")" * 300, ""),
    ],
)
def test_what_may_not_be_written_is_refused_before_it_runs(expression, words):
    assert words in (wrong_with(expression) or "-")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("input.nothing", "has() first"),
        ("1 / 0", "division by zero"),
        ("1.5 + 1", "does not coerce"),
        ("9223372036854775807 + 1", "verflow"),
        ("1.0 / 0.0", "JSON does not have"),
        ("b'x'", "JSON does not have"),
        ("{1: 2}", "JSON does not have"),
        ("duration('1s')", "JSON does not have"),
        ("input.json.by.map(k, k)", "no order"),
        ("input.many.map(i, i)", "1,001 elements, at most 1,000"),
        ("input.hundred.all(i, input.more.exists(j, i == j))", "101 elements, at most 100"),
        ("input.text.matches('(?:a{1000}){1000}')", "size limit"),
    ],
)
def test_what_has_no_value_here_says_why(expression, words):
    with pytest.raises(
        ExpressionError, match="(?s)" + words.replace("(", r"\(").replace(")", r"\)")
    ):
        value_of(expression, KNOWS)


def test_the_nodes_that_an_expression_speaks_of():
    assert list(
        nodes_in("nodes.a.result + nodes['b'].error + nodes[\"c\"].result + other.nodes")
    ) == ["a", "b", "c"]
