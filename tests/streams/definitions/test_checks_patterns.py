"""Mistakes in patterns are reported with file and line; circles of agents are warned of."""

import shutil

import pytest

from streams.definitions.folder import DefinitionsError, load
from tests.support.examples import FOLDER


@pytest.fixture
def excursion(tmp_path):
    """The mistakes of the workflow's folder with a text in the agent's file changed."""
    shutil.copytree(FOLDER / "workflow", tmp_path / "w")
    path = tmp_path / "w/agents/excursion.yaml"

    def changed(before, after):
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))
        with pytest.raises(DefinitionsError) as bad:
            load(tmp_path / "w", 1)
        line = text[: text.index(before)].count("\n") + 1
        return str(bad.value).replace(str(path), "FILE").splitlines(), line

    return changed


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("otherwise: deposit", "otherwise: deposti", "there is no node 'deposti'"),
        ("tool: reserve_hut", "tool: reserve_huts", "there is no tool 'reserve_huts'"),
        ("agent: guide", "agent: guides", "there is no agent 'guides'"),
        (
            "next: {to: printing, at_most: 2}",
            "next: printing",
            "and this way back to it, without a bound",
        ),
        ("when: input.json.people > 40", "when: input.json.people > ", "cannot be used"),
        ("seconds: 600", "seconds: 600\n      tool: x", "has no `tool`"),
        ("tool: release_hut", "tool: release_huts", "there is no tool 'release_huts'"),
        ("limits: {steps: 30", "limits: {steps: 5", "limits.steps is 5"),
        ("pattern: workflow", "pattern: loop", "`workflow` is for `pattern: workflow`"),
        ("kind: wait", "kind: pause", "'tool', 'agent'"),
    ],
)
def test_a_mistake_in_a_workflow_is_told_with_its_line(excursion, before, after, words):
    told, line = excursion(before, after)
    [sentence] = [one for one in told if words in one]
    assert sentence.startswith("FILE, line ")
    assert int(sentence.split("line ")[1].split(":")[0]) - line in (
        -1,
        0,
        1,
        2,
    )  # a key's line, or its mapping's


def test_agents_that_ask_one_another_in_a_circle_are_warned_of():
    [warning] = load(FOLDER / "team", 1).warnings
    assert (
        "mirror.yaml, line 4" in warning
        and "mirror -> mirror" in warning
        and "limits.depth" in warning
    )
    assert [*load(FOLDER / "workflow", 1).warnings] == []


@pytest.mark.parametrize(
    ("example", "file", "before", "after", "words"),
    [
        (
            "plan",
            "organiser",
            "steps: 4",
            "steps: 20",
            "may need 22 questions or more, and limits.steps is 12",
        ),
        ("critique", "writer", "rounds: 2", "rounds: 8", "may need 18 questions or more"),
        (
            "critique",
            "writer",
            "rounds: 2",
            "rounds: 2\n  model: large",
            "there is no model 'large'",
        ),
        ("plan", "organiser", "pattern: plan", "pattern: single", "one answer without tools"),
        ("plan", "organiser", "pattern: plan", "pattern: workflow", "needs a `workflow`"),
    ],
)
def test_a_pattern_that_cannot_hold_is_told(tmp_path, example, file, before, after, words):
    shutil.copytree(FOLDER / example, tmp_path / "e")
    path = tmp_path / f"e/agents/{file}.yaml"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(DefinitionsError) as bad:
        load(tmp_path / "e", 1)
    assert words in str(bad.value) and f"{file}.yaml, line " in str(bad.value)
