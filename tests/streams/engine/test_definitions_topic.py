"""Are definitions applied once, versioned, followed, and taken out of force?"""

from datetime import UTC, datetime

import pytest

from schemas.catalogue import event_classes
from schemas.definitions.kinds import Agent, DefinitionApplied, Definitions, Policy, Rule, Tenant
from schemas.definitions.prompts import Alias, Prompt
from schemas.wire.codec import Codec, LocalIds
from schemas.wire.topics import topic_of
from streams.engine import definitions_topic, kafka
from streams.engine.definitions_topic import (
    Authorship,
    applied,
    plan,
    removal,
    versions_missing,
)
from tests.support.stages import toy, until

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ACME = Tenant(name="acme", burst=5)
CAREFUL = Policy(name="careful", rules=(Rule(find="card", action="redact"),))


def test_definitions_are_found_by_kind_name_and_version():
    known = Definitions.of(ACME, CAREFUL)
    assert (known.tenant("acme"), known.policy("careful", 1)) == (ACME, CAREFUL)
    assert (known.tenant("careful"), known.policy("careful", 2)) == (None, None)
    assert known.in_force(Tenant) == [ACME]
    removed = known.having([removal(known, "tenant", "acme", NOON)])
    assert removed.in_force(Tenant) == [] and removed.tenant("acme", 1) == ACME


def test_what_is_in_force_makes_no_event():
    first = plan(Definitions(), [ACME, CAREFUL], NOON)
    assert [(e.place, e.version) for e in first] == [("tenant/acme@1", 1), ("policy/careful@1", 1)]
    now = Definitions().having(first)
    assert plan(now, [ACME, CAREFUL], NOON) == []
    [changed] = plan(now, [ACME.model_copy(update={"burst": 6}), CAREFUL], NOON)
    assert (changed.place, changed.version) == ("tenant/acme@2", 2)
    assert changed.digest != first[0].digest
    after = now.having([changed])
    assert after.tenant("acme").burst == 6
    assert after.tenant("acme", 1).burst == 5


def test_what_was_removed_is_out_of_force_until_it_is_applied_again():
    now = Definitions().having(plan(Definitions(), [ACME], NOON))
    gone = now.having([removal(now, "tenant", "acme", NOON)])
    assert gone.tenant("acme") is None
    assert gone.tenant("acme", 1) == ACME
    with pytest.raises(KeyError, match="no tenant named acme"):
        removal(gone, "tenant", "acme", NOON)
    [back] = plan(gone, [ACME], NOON)
    assert back.version == 2
    assert gone.having([back]).tenant("acme") == ACME


def test_versions_of_prompts_that_are_not_there_are_told_before_anything_is_applied():
    shop, other = Prompt(name="shop", task="Sell."), Prompt(name="shop", task="Sell more.")
    now = Definitions().having(plan(Definitions(), [shop], NOON))
    alias = Alias(name="shop", versions={"prod": 1, "canary": 2})
    agents = [
        Agent(name=str(version), prompt={"use": "shop", "version": version}, model="m")
        for version in (1, 3)
    ]
    found = versions_missing(now, [alias, *agents])
    assert [one.partition(", which")[0] for one in found] == [
        "the alias 'canary' of prompt 'shop' names version 2",
        "agent '3' names version 3 of prompt 'shop'",
    ]
    assert "there are 1. Apply the prompt first" in found[0]
    assert versions_missing(now.having(plan(now, [other], NOON)), [alias, agents[0]]) == []


@pytest.mark.engine
def test_workers_read_all_of_them_and_follow(bootstrap, tmp_path):
    with toy(bootstrap, "tenant", tmp_path) as bench:
        kafka.create_topics(bench.settings, [topic_of(DefinitionApplied)])
        codec = Codec(LocalIds(event_classes()))
        assert (
            definitions_topic.publish(
                bench.settings, codec, plan(Definitions(), [ACME, CAREFUL], NOON)
            )
            == 2
        )
        follower = definitions_topic.Follower(bench.settings, Codec(LocalIds(event_classes())))
        now = follower.current_definitions()
        assert now.tenant("acme") == ACME and now.policy("careful") == CAREFUL
        broken = applied("tenant", "acme", 9, '{"burst": "many"}', Authorship(NOON, ""))
        more = plan(now, [ACME.model_copy(update={"burst": 9})], NOON)
        definitions_topic.publish(bench.settings, codec, [broken, *more])
        until(
            lambda: follower.current_definitions().tenant("acme").burst == 9,
            "the new version is followed",
        )
        follower.close()
        assert definitions_topic.read_all(bench.settings, codec).tenant("acme").burst == 9
