"""Is there one topic an event, with the partitions, retention and owner that an operator expects?"""

import pytest

from schemas.catalogue import event_classes
from schemas.definitions.kinds import DefinitionApplied
from schemas.events.base import kebab
from schemas.events.operations import DeadLettered
from schemas.events.usage import UsageTotalled
from schemas.wire.topics import topic_of, topics


def test_every_event_is_in_one_topic():
    there = [kind for topic in topics().values() for kind in topic.events]
    assert sorted(kind.__name__ for kind in there) == sorted(event_classes())


def test_what_is_known_of_a_class_stands_on_the_class():
    made = topic_of(UsageTotalled, 3)
    assert (made.owner, made.retention) == ("finance, product", UsageTotalled.retention)
    assert all(kind.audience == "public" for kind in event_classes().values() if kind.sent_with)


@pytest.mark.parametrize("partitions", [1, 4, 12])
def test_all_have_the_partitions_asked_for_but_those_read_whole(partitions):
    made = topics(partitions)
    whole = DefinitionApplied.topic()
    assert made[whole].partitions == 1
    assert {topic.partitions for name, topic in made.items() if name != whole} == {partitions}


@pytest.mark.parametrize(
    "kind, config",
    [
        (DefinitionApplied, {"cleanup.policy": "compact"}),
        (DeadLettered, {"cleanup.policy": "delete", "retention.ms": str(90 * 86_400_000)}),
        (UsageTotalled, {"cleanup.policy": "delete", "retention.ms": str(390 * 86_400_000)}),
    ],
)
def test_config(kind, config):
    assert topic_of(kind).config() == config | {"max.message.bytes": str(8 * 1024 * 1024)}


def test_a_topic_with_personal_data_says_so():
    personal = {name for name, topic in topics().items() if topic.personal}
    assert {"weir.agent.agent-requested", "weir.feedback.feedback-given"} <= personal
    assert "weir.operations.live-figures" not in personal and "weir.tenant.figures" not in personal


@pytest.mark.parametrize(
    "name, made",
    [
        ("RunFinished", "run-finished"),
        ("Woke", "woke"),
        ("AgentV2Asked", "agent-v2-asked"),
    ],
)
def test_kebab(name, made):
    assert kebab(name) == made
