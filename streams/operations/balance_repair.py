"""How do records that were lost land again, once?

Those that stand behind where the sink worker has written and are nowhere are read from the log and
written as the sink worker would have. Nothing else will write them: it has passed them. Which they
are is counted just before, and told again after.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from schemas.wire.record_types import RecordTypes
from sinks.base import Sink
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import kinds
from streams.engine.sinks.decode import Reader
from streams.topology import SINKS, VALIDATED

log = logging.getLogger(__name__)
AT_ONCE = 20_000
Place = tuple[str, int]


def repair(
    settings: Settings, codec: Any, sink: Sink, lost: Mapping[Place, Sequence[int]], now: datetime
) -> int:
    """Lands lost records by topic and partition; how many could be written. What can never be
    stored is logged.
    """
    types = RecordTypes(settings.prefix, kinds(SINKS["clickhouse"]))
    reader = Reader(codec, sink, VALIDATED, settings.retention_days)
    ids = kafka.topic_ids(kafka.admin(settings), {topic for topic, _ in lost})
    landed = 0
    for (topic, partition), offsets in sorted(lost.items()):
        for begin in range(0, len(offsets), AT_ONCE):
            landed += _land(
                settings,
                reader,
                sink,
                (topic, partition),
                types,
                ids[topic],
                sorted(offsets)[begin : begin + AT_ONCE],
                now,
            )
    return landed


def _land(
    settings: Settings,
    reader: Reader,
    sink: Sink,
    place: Place,
    types: RecordTypes,
    topic_id: str,
    offsets: list[int],
    now: datetime,
) -> int:
    wanted = set(offsets)
    messages = [
        message
        for message in kafka.read_to(settings, *place, (offsets[0], offsets[-1] + 1))
        if message.offset() in wanted
    ]
    inserts, bad = reader.read_all(types, topic_id, messages)
    for each in bad:
        log.warning(
            "%s[%d] at %d can never be stored (%s): %s",
            *place,
            each.message.offset(),
            each.reason,
            each.detail,
        )
    # The minute is part of the token: what is lost anew after a repair is to land anew, and not
    # taken for a repeat.
    digest = sha256(",".join(map(str, offsets)).encode()).hexdigest()[:16]
    token = f"repair:{place[0]}:{topic_id}:{place[1]}:{digest}:{now:%Y%m%d%H%M}"
    for each in inserts:
        sink.write(each.prepared, f"{token}:{each.kind.__name__}")
    return len(messages) - len(bad)
