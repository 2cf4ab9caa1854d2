"""The diagrams show every transition of the agent, and every node and edge of a workflow."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from processors.agent.machine import TRANSITIONS
from schemas.definitions.patterns import Workflow
from streams.cli.main import application
from streams.definitions.folder import DefinitionsError, definition_in
from streams.docs import mermaid
from tests.support.examples import FOLDER

EXCURSION = FOLDER / "workflow/agents/excursion.yaml"
ODD = Workflow.model_validate(
    {
        "start": "end",
        "nodes": {
            "end": {
                "kind": "branch",
                "cases": [{"when": 'input.text == "a|b" || input.text > "#<c>"', "next": "style"}],
            },
            "style": {
                "kind": "wait",
                "seconds": 0.5,
                "join": "any",
                "next": {"to": "end", "at_most": 3},
            },
        },
    }
)
NODE = r"n_\w+(\[\[.+\]\]|\[.+\]|\{\{.+\}\}|\{.+\}|\(\[.+\]\)|>.+\])"
EDGE = r"n_\w+ (-->|==>|-\.->)(\|[^|]+\|)? (n_\w+|the_end)"


@pytest.mark.parametrize("graph", [definition_in(EXCURSION, "agent").workflow, ODD])
def test_a_workflow_is_drawn_whole_in_what_mermaid_knows(graph):
    lines = mermaid.workflow(graph).splitlines()
    known = rf"(flowchart TD|  begin\(\(start\)\) --> n_\w+|  the_end\(\(end\)\)|  {NODE}|  {EDGE})"
    assert [line for line in lines if not re.fullmatch(known, line)] == []
    assert [
        name
        for name in graph.nodes
        if sum(line.startswith((f"  n_{name}", f"  n_{name}>")) and "<b>" in line for line in lines)
        != 1
    ] == []


def test_loops_failures_and_compensations_can_be_seen():
    text = mermaid.workflow(definition_in(EXCURSION, "agent").workflow)
    assert '  n_printed ==>|"true, at most 2 times"| n_printing' in text
    assert "  n_advice -.->|fails| n_booked" in text and "undone by release_hut" in text


def test_every_transition_that_changes_something_is_drawn():
    text = mermaid.states()
    drawn = {
        (start, event)
        for start, events in re.findall(r"  (\w+) --> \w+: (.+)", text)
        for event in events.split(", ")
    }
    assert drawn == {
        (str(phase), event.__name__)
        for (phase, event), move in TRANSITIONS.items()
        if move.ends or move.stays != {phase}
    }


def test_the_command_prints_both_or_says_what_is_wrong():
    asked = CliRunner().invoke(
        application("describe"), ["describe", "--agent", "--workflow", str(EXCURSION)]
    )
    assert (
        asked.exit_code == 0
        and "stateDiagram-v2" in asked.output
        and "flowchart TD" in asked.output
    )
    with pytest.raises(DefinitionsError, match="no file"):
        definition_in(Path("nowhere.yaml"), "agent")
