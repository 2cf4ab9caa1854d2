"""Does every question get exactly one committed answer, in order, whatever happens to the workers?"""

import os
import random
import signal
from collections import Counter

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from schemas.catalogue import event_classes
from schemas.events.agent.models import ModelFailed
from schemas.events.agent.runs import (
    RunFinished,
    ToolCalled,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
)
from schemas.events.operations import DeadLettered
from schemas.wire.codec import Codec, LocalIds
from schemas.wire.large_bodies import EVENT_BYTES_MAX
from sinks.objects import ObjectStore
from streams.engine import kafka
from tests.support.calls import PARTITIONS, asked, by_session, called, runners
from tests.support.stages import until

pytestmark = pytest.mark.engine
ANSWERS = (ToolReturned, ToolFailed, ToolUncertain)


@pytest.fixture
def world(own_settings):
    with runners(own_settings) as made:
        yield made


def test_killed_in_mid_call_each_question_has_one_answer_in_order(world):
    chance, kills = random.Random(7), 4
    questions = [
        called(
            f"s{nth % 24}", chance.choice([10, 30, 100, 400]), chance.choice(["pure", "once"]), nth
        )
        for nth in range(360)
    ] + [called("slow", 2_500)]
    world.start(0), world.start(1)
    world.publish(*questions)
    for nth in range(kills):
        heard = sum(world.tool.begun.values())
        until(
            lambda heard=heard: (
                sum(world.tool.begun.values()) >= heard + 12 and world.tool.under_way
            ),
            "calls go on",
        )
        world.kill(nth % 2)
        world.start(nth % 2)
    until(lambda: world.heard() >= len(questions), "all are answered", 60)
    assert {slot: world.terminate(slot) for slot in (0, 1)} == {0: 0, 1: 0}

    answers = world.events(*ANSWERS)
    assert Counter(answer.cause for answer in answers) == Counter(
        question.id for question in questions
    )
    for kind in ANSWERS:
        wanted = by_session(questions)
        for session, causes in by_session([a for a in answers if isinstance(a, kind)]).items():
            assert causes == [cause for cause in wanted[session] if cause in set(causes)]
    begun = world.tool.begun
    once = {str(question.id) for question in questions if question.effect == "once"}
    assert all(begun[key] <= 1 for key in once), "a call that must happen once happened twice"
    returned = {str(answer.cause) for answer in answers if isinstance(answer, ToolReturned)}
    assert all(begun[key] == 1 for key in once & returned)
    assert not [a for a in answers if isinstance(a, ToolUncertain) and str(a.cause) not in once]
    assert sum(begun.values()) - len(begun) <= kills * 30, (
        "more was repeated than can have been in flight"
    )


def test_a_call_that_must_happen_once_is_uncertain_after_a_crash_and_a_reconcilable_one_is_asked_about(
    world,
):
    world.start()
    questions = [called(f"s{nth}", 8_000, "once") for nth in range(6)] + [called("s0", 1, "pure")]
    asked = [called(f"r{nth}", 8_000, "reconcilable") for nth in range(4)]
    world.tool.happened |= {str(question.id) for question in asked[:2]}
    world.publish(*questions, *asked)
    until(lambda: len(world.tool.begun) == 10, "all calls are under way")
    world.kill()
    world.start()
    until(lambda: world.heard() == 11, "all are answered")
    assert {a.cause for a in world.events(ToolUncertain)} == {q.id for q in questions[:6]}
    returned = {a.cause: a.content for a in world.events(ToolReturned)}
    assert returned == {
        questions[6].id: '{"done":true}',
        **{q.id: "it was" for q in asked[:2]},
        **{q.id: '{"done":true}' for q in asked[2:]},
    }
    twice = {str(question.id) for question in asked[2:]}
    assert {key for key, times in world.tool.begun.items() if times > 1} == twice
    assert set(world.tool.asked_about) == {str(question.id) for question in asked}


def test_what_a_run_that_is_over_still_asks_is_given_up_where_that_harms_nobody(world):
    world.start()
    pure, once, other = (
        called("s0", 20_000, "pure"),
        called("s1", 20_000, "once"),
        called("s2", 20_000, "pure"),
    )
    world.publish(pure, once, other)
    until(lambda: world.tool.under_way == 3, "all calls are under way")
    world.publish(
        *(
            one.then(RunFinished, outcome="cancelled", started_at=one.at, wait_ms=0)
            for one in (pure, once)
        )
    )
    until(lambda: world.heard() == 1, "one is given up", 10)
    [failed] = world.events(ToolFailed)
    assert (failed.cause, failed.reason) == (pure.id, "run_over")


def test_asked_to_end_it_finishes_what_runs_and_nothing_is_repeated(world):
    world.start()
    questions = [called(f"s{nth}", 4_000) for nth in range(40)] + [
        called(f"s{nth}", 5) for nth in range(40)
    ]
    world.publish(*questions)
    until(lambda: len(world.tool.begun) == 40, "the slow ones are under way")
    assert world.terminate() == 0
    assert {a.cause for a in world.events(ToolReturned)} == {q.id for q in questions[:40]}
    world.start()
    until(lambda: world.heard() == 80, "the others are answered")
    assert set(world.tool.begun.values()) == {1}


def test_a_rebalance_repeats_nothing(world):
    world.start(0)
    questions = [called(f"s{nth}", 6_000 if nth < 8 else 300) for nth in range(60)]
    world.publish(*questions)
    until(lambda: len(world.tool.begun) >= 8, "calls are under way")
    world.start(1)
    until(lambda: world.heard() == 60, "all are answered", 60)
    assert Counter(a.cause for a in world.events(*ANSWERS)) == Counter(q.id for q in questions)
    moved = sum(world.tool.begun.values()) - 60
    assert moved <= 8, "only a call that outlasted the handing over may be made by the new owner"


def test_paused_for_long_it_ends_itself_and_nothing_doubles(world):
    world.start(0), world.start(1)
    until(
        lambda: all(
            f"assigned partitions={PARTITIONS} " in world.log_path(slot).read_text()
            for slot in (0, 1)
        ),
        "both have partitions",
    )
    world.publish(*[called(f"s{nth}", 1_500, "once") for nth in range(80)])
    until(lambda: len(world.tool.begun) >= 60, "calls are under way")
    os.kill(world.workers[0].pid, signal.SIGSTOP)
    until(lambda: world.heard() == 80, "the other takes over")
    os.kill(world.workers[0].pid, signal.SIGCONT)
    assert world.workers[0].wait(10) != 0
    assert Counter(Counter(a.cause for a in world.events(*ANSWERS)).values()) == {1: 80}
    assert max(world.tool.begun.values()) == 1


def test_what_cannot_be_asked_is_told_and_the_partition_goes_on(world):
    world.start()
    world.put(ToolCalled, b"no avro", b"acme/s1")
    wrong = called("s1", 1)
    world.put(ToolCalled, world.codec.encode(wrong), b"acme/other")
    unknown, model, fine = (
        called("s1", 1).model_copy(update={"tool": "gone"}),
        asked("s1"),
        called("s1", 1),
    )
    world.publish(unknown, model, fine)
    until(lambda: world.heard() == 3 and len(world.events(DeadLettered)) == 2, "all is told")
    assert {a.cause: a.reason for a in world.events(ToolFailed, ModelFailed)} == {
        unknown.id: "unknown_tool",
        model.id: "unknown_model",
    }
    assert {(d.reason, d.record_value) for d in world.events(DeadLettered)} == {
        ("not_avro", b"no avro"),
        ("wrong_key", world.codec.encode(wrong)),
    }


def test_a_question_that_is_kept_elsewhere_is_asked_whole_and_one_that_is_gone_fails(world):
    store = ObjectStore(world.settings.object_store())
    codec = Codec(LocalIds(event_classes()), store)
    large, gone = (
        called(f"s{nth}", 1).model_copy(
            update={"arguments": f'{{"wait_ms": 1, "note": "{nth}{"x" * 400_000}"}}'}
        )
        for nth in range(2)
    )
    values = [codec.encode(event) for event in (large, gone)]
    store.remove(
        [one for one in store.list_objects() if one.key in codec_without_store(values[1]).bodies]
    )
    world.start()
    for event, value in zip((large, gone), values, strict=True):
        assert len(value) < EVENT_BYTES_MAX
        world.put(ToolCalled, value, event.partition_key().encode())
    until(lambda: world.heard() == 2, "both are told")
    assert [event.cause for event in world.events(ToolReturned)] == [large.id]
    assert [(event.cause, event.reason) for event in world.events(ToolFailed)] == [
        (gone.id, "body_missing")
    ]


def codec_without_store(value):
    return Codec(LocalIds(event_classes())).decode(ToolCalled, value)


def test_answers_whose_offsets_a_broker_lost_are_found(world):
    world.start()
    first = [called(f"s{nth}", 1) for nth in range(20)]
    world.publish(*first)
    until(lambda: world.heard() == 20, "all are answered")
    member = kafka.consumer(world.settings, "calls")
    topic = world.settings.prefix + ToolCalled.topic()
    world.terminate()
    before = member.committed(
        [TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=10
    )
    world.start()
    world.publish(*[called(f"s{nth}", 1) for nth in range(20)])
    until(lambda: world.heard() == 40, "all are answered")
    world.kill()
    _commit_again(world.settings, before)
    world.start()
    world.publish(called("s1", 1))
    until(lambda: world.heard() >= 41, "the last one is answered")
    assert set(world.tool.begun.values()) == {1}
    member.close()


def test_without_offsets_and_with_answers_it_does_not_begin_again(world):
    world.start()
    world.publish(called("s1", 1))
    until(lambda: world.heard() == 1, "it is answered")
    world.kill()
    group, client = f"{world.settings.prefix}calls", kafka.admin(world.settings)

    def deleted() -> bool:  # a member that was killed stays in the group until its session ends
        try:
            client.delete_consumer_groups([group])[group].result(10)
        except kafka.KafkaException:
            return False
        return True

    until(deleted, "the group is deleted")
    assert world.start().wait(30) != 0
    assert "the offsets of the group are gone" in world.log_path().read_text()
    assert list(world.tool.begun.values()) == [1]


def _commit_again(settings, positions) -> None:
    """What a broker killed in mid-commit may do: the group's offsets are those of before."""
    client, group = kafka.admin(settings), f"{settings.prefix}calls"

    def done() -> bool:
        [future] = client.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, positions)]
        ).values()
        try:
            future.result(10)
        except kafka.KafkaException:
            return False
        return True

    until(done, "the offsets are set back")
