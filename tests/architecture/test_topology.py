"""The topology is sound: keys, topics, inputs and outputs of every step agree."""

import pytest

from schemas.catalogue import event_classes
from schemas.events.base import Event
from schemas.wire.topics import topics
from streams.engine.shapes import Call, Fold, Window, calls, inputs, kinds, stages
from streams.topology import FROM_SERVICES, LIVE_VIEWS, PIPELINE, SINKS


def test_what_others_write_or_read_has_a_topic_of_its_own():
    alone = [kind.topic() for kind in event_classes().values() if not kind.log]
    assert len(alone) == len(set(alone))
    assert all(not kind.log for kind in event_classes().values() if kind.audience == "public")
    assert all(kind.audience == "public" for kind in kinds(FROM_SERVICES))


SHARED = {name: topic.events for name, topic in topics().items() if topic.events[0].log}


def woken_by(kind: type[Event]) -> set[str]:
    """Who works on each record of a class as it comes. Sinks, balance and gateway gather records
    and pass over what they do not want: a log shared with classes of other readers costs them
    nothing. Measured at 20 runs a second, topics apart and shared, in ms of processor time a run:
    gateway 3.4 and 3.3, sink workers 1.8 and 1.6; live views, which are woken, 3.5 and 6.8.
    """
    found = {
        f"stage {key}" for key, steps in stages(PIPELINE).items() if kind in inputs(steps, PIPELINE)
    }
    found |= {step.name for step in calls(PIPELINE) if kind in kinds(step.reads)}
    return found | ({"live views"} if kind in kinds(LIVE_VIEWS) else set())


@pytest.mark.parametrize("log", SHARED)
def test_classes_that_share_a_log_have_the_same_readers_key_and_retention(log):
    assert len(SHARED[log]) > 1, "a log of one class is a topic: leave `log` out"
    assert len({kind.key for kind in SHARED[log]}) == 1
    assert len({kind.retention for kind in SHARED[log]}) == 1
    assert len({frozenset(woken_by(kind)) for kind in SHARED[log]}) == 1


def test_questions_and_answers_of_calls_share_no_log():
    """The call runner tracks the offsets of its questions and reads its answers again: among other
    records it would have to read those too.
    """
    for step in calls(PIPELINE):
        assert [kind.log for kind in (*kinds(step.reads), *kinds(step.writes)) if kind.log] == []


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
def test_state_has_the_key_of_what_it_reads(step):
    if isinstance(step.by, Fold | Window):
        assert len({kind.key for kind in kinds(step.reads)}) == 1


def test_what_a_stage_hears_comes_from_inside_or_from_outside_never_both():
    """But what its own calls tell and others of the pipeline too: that goes around by its topic."""
    for steps in stages(PIPELINE).values():
        heard = {kind for step in steps for kind in kinds(step.reads)}
        told = {kind for step in steps if isinstance(step.by, Call) for kind in kinds(step.writes)}
        inside = {kind for step in steps for kind in kinds(step.writes)} & heard
        outside = {kind for step in PIPELINE if step not in steps for kind in kinds(step.writes)}
        outside |= {*kinds(FROM_SERVICES)}
        assert not inside & outside - told
        assert set(inputs(steps, PIPELINE)) & inside == told & outside & heard


def test_what_no_step_writes_comes_from_other_services():
    wrote = {kind for step in PIPELINE for kind in kinds(step.writes)}
    assert {
        kind
        for steps in stages(PIPELINE).values()
        for kind in inputs(steps, PIPELINE)
        if kind not in wrote
    } <= {*kinds(FROM_SERVICES)}


def test_nothing_is_said_in_vain():
    heard = {kind for step in PIPELINE for kind in kinds(step.reads)} | {
        k for s in (*SINKS.values(), LIVE_VIEWS) for k in kinds(s)
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
