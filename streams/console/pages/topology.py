"""The steps of the pipeline, with rates and lags."""

from typing import Any

from fastapi.responses import HTMLResponse

from streams.console.page import Page, TableBlock, render
from streams.console.queries import (
    PageQuery,
)
from streams.console.request import PageRequestOf
from streams.engine.shapes import Call, Step, calls, kinds, stages
from streams.topology import PIPELINE

QUERIES: dict[str, PageQuery] = {
    "rates": PageQuery(
        "Records a minute, by topic",
        """
SELECT topic, round(sum(made) / 10, 1) AS a_minute, sum(nowhere) AS lost, sum(twice) AS doubled,
       max(longest) AS landed_after_ms
FROM (SELECT topic, partition, minute, argMax(produced, counted_at) AS made, argMax(lost,
       counted_at) AS nowhere,
             argMax(doubled, counted_at) AS twice, argMax(landed_after_ms, counted_at) AS longest
      FROM balance WHERE minute >= now('UTC') - INTERVAL 10 MINUTE GROUP BY topic, partition,
      minute)
GROUP BY topic ORDER BY a_minute DESC""",
    ),
}

PAGE = Page("topology", "Topology", 100, QUERIES)


@PAGE.router.get("/topology")
async def topology(look: PageRequestOf) -> HTMLResponse:
    rates, delays = await look.all("rates", "delays")
    late = {row["consumer"]: row for row in delays}
    by_topic = {row["topic"]: row["a_minute"] for row in rates}
    events = [kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))]
    by_event = {
        kind.__name__: by_topic[kind.topic()]
        for kind in events
        if kind.topic() in by_topic and not kind.log
    }
    drawn = [
        (f"stage: {key}", f"stage-{key}", late.get(f"stage-{key}"), [_step(step) for step in steps])
        for key, steps in stages(PIPELINE).items()
    ]
    return render(
        look,
        "topology.html",
        "Topology",
        rates=by_event,
        stages=[
            *drawn,
            (
                "asked outside",
                "calls",
                late.get("calls"),
                [_step(step) for step in calls(PIPELINE)],
            ),
        ],
        tables=[
            TableBlock("Records a minute, by topic", rates, "rates"),
            TableBlock("How far behind", delays, "delays"),
        ]
        if look.sees_all
        else [],
    )


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name.replace("_", " "),
        "shape": f"asks the port {step.by.port}"
        if isinstance(step.by, Call)
        else type(step.by).__name__,
        "reads": [k.__name__ for k in kinds(step.reads)],
        "writes": [k.__name__ for k in kinds(step.writes)],
    }
