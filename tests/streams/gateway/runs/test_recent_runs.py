"""Is what is remembered of runs bounded, and does whoever waits hear of it?"""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from schemas.catalogue import event_classes
from schemas.events.agent.runs import RequestAdmitted, RunFinished
from schemas.wire.codec import Codec, LocalIds
from streams.gateway.runs.recent_runs import ANY, OVERHEAD_BYTES, RecentRuns, SessionRecord

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
CODEC = Codec(LocalIds(event_classes()))


def stories(bytes_max=10_000_000, **limits):
    return RecentRuns(lambda heard: CODEC.decode(heard.kind, heard.value), bytes_max, **limits)


def heard(event):
    return SessionRecord(type(event), event.partition_key().encode(), CODEC.encode(event))


def admitted(run, session, text="x"):
    return RequestAdmitted(
        id=UUID(int=run + 1_000),
        at=NOON,
        tenant="t",
        session=session,
        run=UUID(int=run),
        agent="a",
        text=text,
    )


def finished(run, session):
    return RunFinished(
        id=UUID(int=run + 2_000),
        at=NOON,
        tenant="t",
        session=session,
        run=UUID(int=run),
        agent="a",
        outcome="completed",
        started_at=NOON,
        wait_ms=1,
    )


def test_runs_of_others_are_known_by_what_is_said_of_them():
    made = stories()
    made.take([heard(admitted(1, "s"))])
    assert made.find(UUID(int=1)).session == "s" and made.outcome(UUID(int=1)) is None
    made.take([heard(finished(1, "s"))])
    assert made.find(UUID(int=2)) is None and made.outcome(UUID(int=1)).outcome == "completed"


def test_who_waits_hears_of_its_own_run_in_a_session_of_several():
    async def wait():
        made = stories()
        for run in (1, 2):
            made.expect(UUID(int=run), "t", "s")
        waiting = asyncio.gather(*(made.wait(UUID(int=run), 2) for run in (1, 2)))
        for run in (2, 1):
            await asyncio.sleep(0)
            made.take([heard(admitted(run, "s")), heard(finished(run, "s"))])
        return await waiting, await made.wait(UUID(int=1), 0.01), made

    found, again, made = asyncio.run(wait())
    assert [one.run.int for one in found] == [1, 2] and again.run.int == 1
    with made.reading(made.find(UUID(int=1))) as story:
        assert not story.waiting and story.readers == 1, "nothing is left of who waited"


def test_what_nobody_waits_for_is_forgotten_when_memory_is_full_oldest_first():
    async def fill():
        made = stories(bytes_max=20 * (OVERHEAD_BYTES + 1_100))
        made.expect(UUID(int=0), "t", "s0")
        waiting = asyncio.ensure_future(made.wait(UUID(int=0), 5))
        await asyncio.sleep(0)
        for run in range(100):
            made.take([heard(admitted(run, f"s{run}", "x" * 1_000))])
        kept = [
            run
            for run in range(100)
            if made.find(UUID(int=run))
            and list(made.events(made.find(UUID(int=run)), UUID(int=run), 0, ANY))
        ]
        made.take([heard(finished(0, "s0"))])
        return kept, made.size, await waiting

    kept, size, found = asyncio.run(fill())
    assert kept[0] == 0 and 15 <= len(kept) <= 21 and kept[1:] == list(range(101 - len(kept), 100))
    assert size <= 21 * (OVERHEAD_BYTES + 1_100) and found.run.int == 0


def test_a_session_and_the_names_of_runs_are_bounded_too():
    made = stories(records_max=10, runs_max=5)
    made.take([heard(admitted(run, "s")) for run in range(30)])
    known = made.find(UUID(int=29))
    with made.reading(known) as story:
        assert len(story.records) == 10 and story.gone == 19
    assert made.find(UUID(int=24)) is None and made.find(UUID(int=25)) is not None
