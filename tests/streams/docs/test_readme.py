"""`weir describe` equals the code."""

import json
import re
from pathlib import Path

import fastavro
import pytest
import yaml

from schemas.catalogue import event_classes
from schemas.events.operations import DeadLettered
from schemas.wire.topics import topics
from streams.config import Settings
from streams.docs import asyncapi, readme
from streams.engine.shapes import Call, calls, kinds, stages
from streams.topology import PIPELINE, SINKS

DEFAULTS = Settings.model_construct()
EDGE = re.compile(r"^  (\w+) (==>|-->|-\.->)(?:\|([^|]*)\|)? (\w+)$", re.M)


def edges() -> list[tuple[str, str, set[str], str]]:
    return [
        (source, arrow, {*label.split("<br/>")} - {""}, target)
        for source, arrow, label, target in EDGE.findall(readme.mermaid())
    ]


def test_every_line_of_the_diagram_is_one_that_mermaid_knows():
    node = r"(\w+)(\[\[.+\]\]|\[\(.+\)\]|\[/.+/\]|\[[^\[(/].*\]|\(\[.+\]\)|\{\{.+\}\})"
    known = (
        rf"(flowchart LR|  subgraph \w+\[.+\]|  end| +{node}|  \w+ (==>|-->|-\.->)(\|[^|]+\|)? \w+)"
    )
    assert [line for line in readme.mermaid().splitlines() if not re.fullmatch(known, line)] == []


def test_the_glance_names_every_step_and_shows_what_crosses_between_boxes():
    text = readme.overview()
    boxes = {
        **{
            f"stage_{key}": {step.name for step in steps} for key, steps in stages(PIPELINE).items()
        },
        **{step.name: {step.name} for step in calls(PIPELINE)},
    }
    for key, steps in stages(PIPELINE).items():
        said = re.search(rf'stage_{key}\["<b>stage: {key}</b><br/>(.*)"\]', text)[1].replace(
            "<br/>", " "
        )
        assert {name.replace(" ", "_") for name in said.split(", ")} == {
            step.name for step in steps
        }
    box_of = {name: box for box, names in boxes.items() for name in names}
    crossing = {
        (box_of.get(source, source), box_of.get(target, target)) for source, _, _, target in edges()
    }
    drawn = re.findall(r"^  (\w+) -->\|[^|]+\| (\w+)$", text, re.M)
    assert len(drawn) == len(set(drawn)) and {
        pair for pair in crossing if pair[0] != pair[1]
    } <= set(drawn)
    assert len(drawn) < len(edges()) * 2 / 3


def test_every_step_and_sink_is_drawn_once_in_its_stage():
    text = readme.mermaid()
    for key, steps in stages(PIPELINE).items():
        block = re.search(rf"subgraph stage_{key}\[.*?\n  end", text, re.S)[0]
        assert set(re.findall(r"^    (\w+)", block, re.M)) == {step.name for step in steps}
    for step in PIPELINE:
        assert len(re.findall(rf"^ +{step.name}[\[{{]", text, re.M)) == 1
        if isinstance(step.by, Call):
            assert f"  {step.name}{{{{" in text
    for sink in SINKS:
        assert f"  {sink}[({sink})]" in text


def test_every_node_of_an_edge_is_there():
    nodes = set(re.findall(r"^ +(?:subgraph )?(\w+)[\[({]", readme.mermaid(), re.M))
    assert {name for source, _, _, target in edges() for name in (source, target)} <= nodes


def test_what_a_step_reads_arrives_at_it():
    watchers = {target for _, arrow, _, target in edges() if arrow == "-.->"}
    wakes = {step.by.wakes for step in PIPELINE if getattr(step.by, "wakes", None)}
    for name, reads in [(step.name, step.reads) for step in PIPELINE] + list(SINKS.items()):
        if name not in watchers:
            drawn = set().union(*(names for _, _, names, target in edges() if target == name))
            assert drawn == {kind.__name__ for kind in kinds(reads) if kind not in wakes}


def test_a_thin_arrow_stays_in_one_stage():
    stage_of = {step.name: key for key, steps in stages(PIPELINE).items() for step in steps}
    for source, arrow, _, target in edges():
        same = source in stage_of and stage_of[source] == stage_of.get(target)
        assert (arrow != "==>") == same


def test_every_topic_has_a_row_with_its_readers():
    rows = {row["topic"]: row for row in readme.topics_rows(DEFAULTS)}
    assert rows.keys() == topics().keys()
    assert rows["weir.agent.agent-requested"]["written by"] == "services, agent"
    assert rows["weir.operations.dead-lettered"]["written by"] == "any worker"
    assert rows["weir.tenant.usage"] == {
        "topic": "weir.tenant.usage",
        "events": "RunSettled, TokensUsed",
        "key": "tenant",
        "partitions": 1,
        "retention": "390 days",
        "archived": "390 days",
        "cleanup": "delete",
        "owner": "agent-platform, finance",
        "personal data": "yes",
        "written by": "settle, map_span, meter",
        "read by": "admit, profile, show_usage, total_usage, clickhouse",
    }


def test_every_setting_and_command_has_a_line():
    from streams.docs.commands import COMMANDS

    table = readme.settings_table()
    assert all(f"`WEIR_{name.upper()}`" in table for name in Settings.model_fields)
    assert all(info.description for info in Settings.model_fields.values())
    assert [line.split("`")[1] for line in readme.commands().splitlines()[2:]] == [
        f"./weir {name}" for name in COMMANDS
    ]


def test_defaults_are_those_of_the_code_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
):
    before = readme.settings_table(), readme.topics_table()
    monkeypatch.setenv("WEIR_KAFKA_PORT", "1")
    monkeypatch.setenv("WEIR_PARTITIONS", "9")
    assert (readme.settings_table(), readme.topics_table()) == before


def test_blocks_are_filled_and_filling_again_changes_nothing():
    text = (
        "# T\n<!-- weir describe --commands -->\nstale words\n<!-- end -->\nkept\n<!-- weir "
        "describe --settings -->\n<!-- end -->\n"
    )
    filled = readme.readme_blocks(text)
    assert (
        "stale" not in filled
        and "kept" in filled
        and "`./weir demo`" in filled
        and "WEIR_HOME" in filled
    )
    assert readme.readme_blocks(filled) == filled


@pytest.mark.parametrize(
    "text, words",
    [
        ("<!-- weir describe --nonsense -->\n<!-- end -->", "use one of diagram"),
        ("<!-- weir describe --topics -->\nnever ended", "no `<!-- end -->`"),
        (
            "<!-- weir describe --topics -->\n<!-- weir describe --topics -->\n<!-- end -->",
            "no `<!-- end -->`",
        ),
    ],
)
def test_a_broken_marker_is_said(text: str, words: str):
    with pytest.raises(ValueError, match=words):
        readme.readme_blocks(text)


def test_a_file_is_rewritten_only_when_it_differs(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text("<!-- weir describe --diagram -->\n<!-- end -->\n")
    assert readme.rewrite_readme(path) and "flowchart LR" in path.read_text()
    assert not readme.rewrite_readme(path)


def test_a_bar_in_a_cell_is_escaped():
    assert readme.markdown([{"a": "x|y"}]) == "| a |\n| --- |\n| x\\|y |"


def resolve(document: dict, reference: str) -> dict:
    """What a local reference points at. KeyError where it points at nothing."""
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_asyncapi_document_has_what_3_0_requires():
    document = asyncapi.document(DEFAULTS)
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    allowed = {
        "asyncapi",
        "id",
        "info",
        "servers",
        "defaultContentType",
        "channels",
        "operations",
        "components",
    }
    assert document.keys() <= allowed
    for server in document["servers"].values():
        assert {"host", "protocol"} <= server.keys()
    for name, channel in document["channels"].items():
        assert channel["address"] in topics() and re.fullmatch(r"[\w.\-]+", name)
        for message in channel["messages"].values():
            assert resolve(document, message["$ref"])["payload"]["schemaFormat"].startswith(
                "application/vnd.apache.avro"
            )
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = resolve(document, operation["channel"]["$ref"])
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
            assert resolve(document, message["$ref"]) in channel["messages"].values()


def test_the_asyncapi_document_covers_every_event_with_a_schema_that_parses():
    document = asyncapi.document(DEFAULTS)
    offered = [name for channel in document["channels"].values() for name in channel["messages"]]
    assert sorted(offered) == sorted(event_classes())
    assert document["components"]["messages"].keys() == event_classes().keys()
    for message in document["components"]["messages"].values():
        assert fastavro.parse_schema(message["payload"]["schema"])["type"] == "record"


def test_what_weir_takes_and_what_it_tells():
    operations = asyncapi.document(DEFAULTS)["operations"]
    taken = {
        name.removeprefix("take") for name, one in operations.items() if one["action"] == "receive"
    }
    assert {
        "AgentRequested",
        "FeedbackGiven",
        "DocumentPublished",
        "RunCancelled",
        "DefinitionApplied",
    } <= taken
    assert operations["tellRunFinished"]["summary"] == "Written by: agent."
    assert "tell" + DeadLettered.__name__ in operations


def test_the_yaml_is_the_document():
    document = asyncapi.document(DEFAULTS)
    assert yaml.safe_load(asyncapi.as_yaml(DEFAULTS)) == json.loads(json.dumps(document))
