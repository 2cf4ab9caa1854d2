"""Mistakes in approvals and approvers are reported with file and line."""

import shutil

import pytest

from streams.definitions.folder import DefinitionsError, load
from tests.support.examples import FOLDER


@pytest.fixture
def folder(tmp_path):
    """A copy of the example, and a way to change one of its files."""
    made = tmp_path / "refunds"
    shutil.copytree(FOLDER / "refunds", made)

    def changed(name: str, before: str, after: str):
        path = made / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
        return made

    return changed


def test_the_example_is_right():
    assert len(load(FOLDER / "refunds", 1).definitions) == 7


@pytest.mark.parametrize(
    ("file", "before", "after", "words"),
    [
        (
            "tools/pay_back.yaml",
            "double(input.amount_eur) > 10.0",
            "input.amount_eur >",
            "pay_back.yaml, line 4: `when` cannot",
        ),
        (
            "tools/pay_back.yaml",
            "double(input.amount_eur) > 10.0",
            "amount_eur > 1",
            "it speaks of 'amount_eur'",
        ),
        (
            "tools/pay_back.yaml",
            "double(input.amount_eur) > 10.0",
            "nodes.a.result",
            "knows the arguments of the call as `input`",
        ),
        (
            "tools/pay_back.yaml",
            "by: [mara, accounting]",
            "by: []",
            "pay_back.yaml, line 4: approval.by",
        ),
        (
            "agents/clerk.yaml",
            "ask_user: true",
            "ask_user: true\npattern: single",
            "never asks its user, it answers at once",
        ),
        (
            "agents/clerk.yaml",
            "tools: [find_order, pay_back]",
            "tools: [find_order, ask_user]",
            "rename the tool",
        ),
        ("agents/clerk.yaml", "type: object\n", "type: thing\n", "output is no JSON Schema"),
        ("agents/clerk.yaml", "tokens: 8000", "tokens: 8", "clerk.yaml, line 15: context.tokens"),
    ],
)
def test_a_mistake_is_told_with_its_place(folder, file, before, after, words):
    with pytest.raises(DefinitionsError) as raised:
        load(folder(file, before, after), 1)
    assert words in str(raised.value)
