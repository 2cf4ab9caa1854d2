"""At most one call a question, whatever order things happen in; what is given up is not adopted."""

from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.engine.calls.in_flight import Adopted, Begin, CallKey, Deliver, InFlight

KEYS = st.builds(
    CallKey, st.just("ask"), st.integers(1, 3).map(lambda n: UUID(int=n)), st.sampled_from("ab")
)
PARTITIONS = st.integers(0, 2)
KEY = CallKey("ask", UUID(int=1), "a")


def test_a_question_under_way_is_adopted_and_one_that_is_answered_is_delivered() -> None:
    calls = InFlight()
    assert calls.ask(KEY, 0) == Begin()
    calls.begun(KEY, 0, "handle")
    assert calls.ask(KEY, 0) == Adopted()
    assert calls.ended(KEY, "handle", "answer")
    assert calls.ask(KEY, 0) == Deliver("answer")
    calls.committed([KEY])
    assert calls.ask(KEY, 0) == Begin()


def test_the_same_id_with_other_words_is_another_question() -> None:
    calls = InFlight()
    calls.begun(KEY, 0, "handle")
    assert calls.ask(KEY._replace(words="b"), 0) == Begin()


def test_a_call_that_is_being_cancelled_is_not_adopted_and_its_answer_is_not_taken() -> None:
    calls = InFlight()
    calls.begun(KEY, 0, "first")
    assert calls.give_up([KEY]) == ["first"]
    assert calls.ask(KEY, 0) == Begin()
    calls.begun(KEY, 0, "second")
    assert not calls.ended(KEY, "first", "late")
    assert calls.ask(KEY, 0) == Adopted()


def test_an_adopted_call_belongs_to_the_partition_that_asked_last() -> None:
    calls = InFlight()
    calls.begun(KEY, 0, "handle")
    calls.ask(KEY, 1)
    assert calls.keep_only({1}) == []
    assert calls.keep_only({0}) == ["handle"]


def test_only_so_many_answers_are_kept() -> None:
    calls = InFlight(answered_max=2)
    keys = [CallKey("ask", UUID(int=nth), "") for nth in range(3)]
    for key in keys:
        calls.begun(key, 0, key)
        calls.ended(key, key, "answer")
    assert [type(calls.ask(key, 0)) for key in keys] == [Begin, Deliver, Deliver]


class AnyOrder(RuleBasedStateMachine):
    """Against a model: which handles live, by question."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.live, self.known = InFlight(), {}, {}
        self.handles = 0

    @rule(key=KEYS, partition=PARTITIONS)
    def ask(self, key: CallKey, partition: int) -> None:
        what = self.calls.ask(key, partition)
        if key in self.known:
            assert what == Deliver(self.known[key])
        elif key in self.live:
            assert what == Adopted()
            self.live[key] = (partition, self.live[key][1])
        else:
            assert what == Begin()
            self.handles += 1
            self.live[key] = (partition, self.handles)
            self.calls.begun(key, partition, self.handles)

    @rule(key=KEYS, answered=st.booleans())
    def end(self, key: CallKey, answered: bool) -> None:
        partition_and_handle = self.live.pop(key, None)
        handle = partition_and_handle[1] if partition_and_handle else -1
        answer = f"answer {handle}" if answered else None
        assert self.calls.ended(key, handle, answer) == (partition_and_handle is not None)
        if partition_and_handle and answered:
            self.known[key] = answer

    @rule(key=KEYS)
    def commit(self, key: CallKey) -> None:
        self.calls.committed([key])
        self.known.pop(key, None)

    @rule(keys=st.lists(KEYS, max_size=3))
    def give_up(self, keys: list[CallKey]) -> None:
        wanted = [self.live.pop(key)[1] for key in dict.fromkeys(keys) if key in self.live]
        assert self.calls.give_up(dict.fromkeys(keys)) == wanted

    @rule(partitions=st.sets(PARTITIONS))
    def keep_only(self, partitions: set[int]) -> None:
        gone = {key: one for key, one in self.live.items() if one[0] not in partitions}
        assert set(self.calls.keep_only(partitions)) == {handle for _, handle in gone.values()}
        self.live = {key: one for key, one in self.live.items() if key not in gone}

    @invariant()
    def as_many_as_live(self) -> None:
        assert len(self.calls) == len(self.live)


TestAnyOrder = AnyOrder.TestCase
