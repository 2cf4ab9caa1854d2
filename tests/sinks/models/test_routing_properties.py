"""Whatever the endpoints do, and whatever the route says: is a question answered once, in time, and
all of it booked?
"""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.ports import ChatAnswer
from sinks.http import CallError
from tests.sinks.models.test_routing import CHECK, World

REFUSALS = st.builds(
    lambda reason, again, after, begun: CallError(
        reason, "x", retryable=again, retry_after_s=after, partial=begun
    ),
    st.sampled_from(["http_503", "http_400", "timeout", "reset", "bad_json"]),
    st.booleans(),
    st.sampled_from([None, None, 0.0, 2.0, 100.0]),
    st.sampled_from([False, False, False, True]),
)
OUTCOMES = st.one_of(
    st.sampled_from(["a", "good answer", ["begun", "words"], ["begun", "w"]]), REFUSALS
)
SCRIPT = st.lists(
    st.tuples(st.sampled_from([0, 0.1, 0.5, 1, 4, 30]), OUTCOMES), min_size=1, max_size=5
)
WAYS = st.one_of(
    st.just({}),
    st.builds(lambda n: {"measured": n}, st.integers(0, 3)),
    st.builds(
        lambda ms, share: {"hedge_ms": ms, "hedge_budget": share},
        st.sampled_from([1, 100, 600]),
        st.sampled_from([0.05, 0.5, 1.0]),
    ),
    st.builds(lambda n: {"checked": n, "check": CHECK}, st.integers(1, 2)),
)


@settings(max_examples=150, deadline=None)
@given(
    scripts=st.lists(SCRIPT, min_size=1, max_size=3),
    ways=WAYS,
    timeout_ms=st.sampled_from([50, 1_000, 20_000]),
    each_ms=st.sampled_from([100, 2_000, 10_000]),
    times=st.integers(1, 4),
)
def test_a_question_has_one_end_in_time_and_every_attempt_is_booked(
    scripts, ways, timeout_ms, each_ms, times
):
    world = World(**{name: script for name, script in zip("abc", scripts, strict=False)})
    for _ in range(times):
        before = len(world.asked)
        end = world.chat(
            *list("abc")[: len(scripts)], timeout_ms=timeout_ms, each_ms=each_ms, **ways
        )
        sent = world.asked[before:]
        assert [t.endpoint for t in end.tried] == [
            name for name, _ in sent
        ] and end.attempts == len(sent)
        assert sum(not t.wasted for t in end.tried) == isinstance(end, ChatAnswer)
        assert all(t.reason for t in end.tried if t.wasted) and len(sent) <= 3 * len(scripts)
        assert world.took(end) <= timeout_ms / 1000 + 0.001
        assert not asyncio.all_tasks(world.virtual.loop)
        if isinstance(end, ChatAnswer):
            [taken] = [t for t in end.tried if not t.wasted]
            assert taken.endpoint == end.endpoint and taken.tokens == end.tokens
    world.virtual.close()
