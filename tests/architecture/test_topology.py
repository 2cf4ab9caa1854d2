"""The topology is sound: keys, topics, inputs and outputs of every step agree."""

import pytest

from schemas.catalogue import event_classes
from schemas.wire.topics import topics
from streams.engine.shapes import Call, Fold, Window, inputs, kinds, stages
from streams.topology import FROM_SERVICES, PIPELINE, SINKS


def test_a_class_has_one_topic_and_the_other_way_round():
    names = [kind.topic() for kind in event_classes().values()]
    assert len(names) == len(set(names)) == len(topics())


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
def test_state_has_the_key_of_what_it_reads(step):
    if isinstance(step.by, Fold | Window):
        assert len({kind.key for kind in kinds(step.reads)}) == 1


def test_what_a_stage_hears_comes_from_inside_or_from_outside_never_both():
    for steps in stages(PIPELINE).values():
        inside = {kind for step in steps for kind in kinds(step.writes)} & {
            kind for step in steps for kind in kinds(step.reads)
        }
        outside = {kind for step in PIPELINE if step not in steps for kind in kinds(step.writes)}
        assert not inside & (outside | {*kinds(FROM_SERVICES)})
        assert not set(inputs(steps)) & inside


def test_what_no_step_writes_comes_from_other_services():
    wrote = {kind for step in PIPELINE for kind in kinds(step.writes)}
    assert {
        kind for steps in stages(PIPELINE).values() for kind in inputs(steps) if kind not in wrote
    } <= {*kinds(FROM_SERVICES)}


def test_nothing_is_said_in_vain():
    heard = {kind for step in PIPELINE for kind in kinds(step.reads)} | {
        k for s in SINKS.values() for k in kinds(s)
    }
    for step in PIPELINE:
        for kind in kinds(step.writes):
            assert kind in heard, f"{step.name} writes {kind.__name__}, which nobody reads"


def test_every_class_is_somewhere_in_the_picture():
    used = {kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))}
    used |= {kind for sink in SINKS.values() for kind in kinds(sink)}
    used |= {step.by.hints for step in PIPELINE if isinstance(step.by, Call)}
    assert {kind.__name__ for kind in event_classes().values() if kind not in used} == {
        "DefinitionApplied"
    }


def test_calls_keep_their_key():
    for step in PIPELINE:
        if isinstance(step.by, Call):
            assert len({kind.key for kind in (*kinds(step.reads), *kinds(step.writes))}) == 1
