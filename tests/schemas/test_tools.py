"""A tool is written flat, with `via` naming its target, and is read back as it was."""

import pytest
from pydantic import ValidationError

from schemas.definitions.kinds import read_body
from schemas.definitions.tools import (
    TARGETS,
    TASK,
    AgentTarget,
    HttpTarget,
    KafkaTarget,
    McpServer,
    McpTarget,
    OpenApiTarget,
    PythonTarget,
    SearchTarget,
    Tool,
)

EXAMPLES = [
    HttpTarget(url="http://t", headers={"x": "env:KEY"}),
    OpenApiTarget(spec="spec.yaml", operation="refund"),
    McpTarget(server=McpServer(command=("server",)), mcp_tool="refund"),
    PythonTarget(entry="shop.tools:refund"),
    KafkaTarget(request_topic="asked", reply_topic="answered"),
    SearchTarget(),
    AgentTarget(agent="other"),
]


def test_every_target_has_an_example():
    assert {type(target) for target in EXAMPLES} == {*TARGETS.values()}
    assert all(TARGETS[target.via] is type(target) for target in EXAMPLES)


@pytest.mark.parametrize("target", EXAMPLES, ids=lambda target: target.via)
@pytest.mark.parametrize("unset", [False, True])
def test_a_tool_is_written_flat_and_read_back_as_it_was(target, unset):
    tool = Tool(name="t", target=target, effect="pure")
    fields = tool.model_dump(mode="json", exclude_unset=unset)
    assert "target" not in fields and fields["via"] == tool.via == target.via
    assert Tool.model_validate(fields) == tool
    assert read_body("tool", tool.model_dump_json()) == tool


def test_without_via_a_tool_is_reached_over_http():
    assert Tool.model_validate({"name": "t", "url": "http://t"}).target == EXAMPLES[0].model_copy(
        update={"headers": {}}
    )


def test_an_agent_as_a_tool_takes_a_task_unless_it_declares_other_parameters():
    asked = {"name": "t", "via": "agent", "agent": "other"}
    assert Tool.model_validate(asked).parameters == TASK
    assert Tool(name="t", target=AgentTarget(agent="other")).parameters == TASK
    own = {"type": "object", "properties": {}}
    assert Tool.model_validate(asked | {"parameters": own}).parameters == own


@pytest.mark.parametrize(
    ("fields", "error", "where"),
    [
        ({}, "missing", ("target", "http", "url")),
        ({"via": "kafka", "request_topic": "a"}, "missing", ("target", "kafka", "reply_topic")),
        (
            {"via": "python", "entry": "a:b", "url": "u"},
            "extra_forbidden",
            ("target", "python", "url"),
        ),
        ({"via": "fax"}, "union_tag_invalid", ("target",)),
        ({"url": "u", "uri": "u"}, "extra_forbidden", ("uri",)),
    ],
)
def test_a_mistake_is_found_where_it_is(fields, error, where):
    with pytest.raises(ValidationError) as wrong:
        Tool.model_validate({"name": "t"} | fields)
    [one] = wrong.value.errors()
    assert (one["type"], one["loc"]) == (error, where)
