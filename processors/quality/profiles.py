"""Profiles the runs of an hour by length, latency, outcome, model, script, language and topic.

A tenant's hour is kept as small histograms, one for each agent and feature, whatever the number of
runs: numbers in buckets of powers of two, and of names no more than `NAMES`.
"""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

from schemas.events.agent.runs import RunSettled
from schemas.events.quality import Counts, HourProfiled

NUMBERS = ("question_chars", "answer_chars", "wait_ms")
FEATURES = (*NUMBERS, "outcome", "model", "script", "language", "subject")
NAMES, OTHER = 40, "other"
LETTERS = 200
"""So many letters of a text tell its script."""
SCRIPTS = {"LATIN": "latin", "CYRILLIC": "cyrillic", "CJK": "han", "ARABIC": "arabic"}


def script(text: str) -> str:
    """The script of most of a text's first letters; `none` where it has no letters."""
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else "none"
    found: dict[str, int] = {}
    letters = 0
    for char in text:
        if char.isalpha():
            name = SCRIPTS.get(unicodedata.name(char, "").partition(" ")[0], OTHER)
            found[name] = found.get(name, 0) + 1
            letters += 1
            if letters == LETTERS:
                break
    return max(sorted(found), key=found.__getitem__, default="none")


def bucket(number: int) -> str:
    """The lower bound of a number's bucket: 0, or the greatest power of two that is not above it,
    of `NAMES` in all.
    """
    return str(1 << min(number.bit_length(), NAMES - 1) - 1 if number > 0 else 0)


@dataclass(frozen=True)
class Hour:
    """A tenant's hour so far: agent -> feature -> bucket -> runs."""

    agents: dict[str, dict[str, Counts]] = field(default_factory=dict)


def add(hour: Hour, settled: RunSettled) -> Hour:
    """The hour with one run more. One that was settled before runs told of their agents is in no
    profile.
    """
    if not settled.agent:
        return hour
    known = hour.agents.get(settled.agent, {})
    grown = {
        feature: _one_more(known.get(feature, {}), _bucket_of(settled, feature))
        for feature in FEATURES
    }
    return Hour(hour.agents | {settled.agent: grown})


def _bucket_of(settled: RunSettled, feature: str) -> str:
    value = getattr(settled, feature)
    return bucket(value) if feature in NUMBERS else value or "none"


def _one_more(counts: Counts, name: str) -> Counts:
    name = name if name in counts or len(counts) < NAMES else OTHER
    return counts | {name: counts.get(name, 0) + 1}


def close(tenant: str, start: datetime, end: datetime, hour: Hour) -> list[HourProfiled]:
    """One for each agent that ran, once event time has passed the hour and its grace."""
    return [
        HourProfiled.about(
            tenant,
            f"{agent}/{start.isoformat()}",
            at=start,
            tenant=tenant,
            agent=agent,
            until=end,
            runs=sum(features["outcome"].values()),
            **features,
        )
        for agent, features in sorted(hour.agents.items())
    ]
