"""A workflow whose workers are killed compensates and ends as an undisturbed one.

What a worker has after a start is its changelog: the states as they were written, of whole units of
work only. So a kill is a new core that has loaded them; what the killed one was doing is taken
again.
"""

import json
from functools import cache, partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events.agent.models import ModelResponded
from schemas.events.agent.runs import ToolCalled
from schemas.events.attempts import AttemptEnded
from streams.engine.in_memory import Local
from streams.engine.shapes import stages
from streams.engine.stages.core import Core
from tests.streams.pipelines.test_workflow import GROUP, paid
from tests.support.examples import at, ends, playing

EVERY = 0
STORIES = {
    "to its end": (GROUP, paid()),
    "undone": (GROUP, paid(usd=20)),
    "undone but for the train": (json.dumps({"people": 12, "day": "Sunday"}), paid(usd=20)),
    "in circles": (json.dumps({"people": 12, "day": "Monday"}), paid()),
    "nobody paid": (GROUP, None),
}


class Killed(Local):
    """A pipeline whose stages are killed at event `place`, in the middle of its work; at EVERY one,
    after its work.
    """

    def __init__(self, pipeline, given, ports, place=None):
        super().__init__(pipeline, given, ports)
        self._steps = stages(pipeline)
        self._place = place
        self.taken = 0
        self._changelog = {key: {} for key in self._cores}

    def _take(self, event):
        self.taken += 1
        if self.taken == self._place and type(event) in self._stages_of:
            super()._take(event)  # nobody hears of it: it was not committed
            self._start()
        caused = super()._take(event)
        self._commit()
        if self._place == EVERY:
            self._start()
        return caused

    def _spread(self, made, key):
        self._commit()
        return super()._spread(made, key)

    def _commit(self):
        for key, core in self._cores.items():
            self._changelog[key].update(core.changes())

    def _start(self):
        for key, steps in self._steps.items():
            core = Core(steps, self._newest)
            for cell, value in self._changelog[key].items():
                if value is not None:
                    core.load(cell, value)
            core.check_whole()
            self._cores[key] = core


def played(story, place=None):
    """All that was said, and how many events were taken."""
    group, signal = STORIES[story]
    with playing("workflow", memory=partial(Killed, place=place)) as (local, ask):
        said = ask(group, "excursion")
        if signal:
            said += local.advance(signal.at) + local.send(signal)
        said += local.advance(at(200_000))
        return said, local.taken


def lasting(said):
    """All of it, but how long attempts at the model took by the clock."""
    return [
        event.id if isinstance(event, ModelResponded | AttemptEnded) else event for event in said
    ]


unkilled = cache(played)


@pytest.mark.parametrize("story", STORIES)
def test_started_anew_after_every_event_it_says_the_same(story):
    assert lasting(played(story, EVERY)[0]) == lasting(unkilled(story)[0])


@settings(max_examples=20, deadline=None)
@given(story=st.sampled_from(sorted(STORIES)), share=st.floats(0, 1, exclude_max=True))
def test_killed_at_any_event_it_compensates_and_ends_the_same(story, share):
    said, taken = unkilled(story)
    again, _ = played(story, 1 + int(share * taken))
    assert lasting(again) == lasting(said)
    [end] = [event for event in ends(again) if event.agent == "excursion"]
    undoing = [
        event.tool
        for event in again
        if isinstance(event, ToolCalled) and event.call.startswith("undo:")
    ]
    assert (undoing == ["release_train", "release_hut"]) == (end.outcome == "failed")
