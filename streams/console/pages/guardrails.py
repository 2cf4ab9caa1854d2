"""What the guardrails found, and which runs were not completed."""

from fastapi.responses import HTMLResponse

from streams.console.page import Page, Picture, TableBlock, render
from streams.console.queries import (
    BUCKET,
    LIMIT,
    MINE,
    SINCE,
    PageQuery,
)
from streams.console.request import PageRequestOf

QUERIES: dict[str, PageQuery] = {
    "verdicts": PageQuery(
        "What the guardrails found",
        f"""
SELECT policy, policy_version, stage, rule, category, action, countIf(enforced) AS enforced_times,
       countIf(NOT enforced) AS in_shadow, sum(findings) AS found, max(at) AS newest
FROM verdicts WHERE {MINE} AND {SINCE} GROUP BY policy, policy_version, stage, rule, category,
       action ORDER BY found DESC""",
    ),
    "verdicts_over_time": PageQuery(
        "Findings by rule",
        f"""
SELECT {BUCKET} AS time, rule AS series, sum(findings) AS value FROM verdicts WHERE {MINE}
       AND {SINCE}
GROUP BY time, series ORDER BY time""",
    ),
    "not_completed": PageQuery(
        "Refused, blocked, stopped, failed",
        f"""
SELECT tenant, agent, outcome, reason, count() AS times, any(run) AS run,
       any(detail) AS example FROM runs
WHERE {MINE} AND {SINCE} AND outcome != 'completed' GROUP BY tenant, agent, outcome, reason
ORDER BY times DESC {LIMIT}""",
    ),
}

PAGE = Page("guardrails", "Guardrails", 50, QUERIES)


@PAGE.router.get("/guardrails")
async def guardrails(look: PageRequestOf) -> HTMLResponse:
    over_time, rules, others = await look.all("verdicts_over_time", "verdicts", "not_completed")
    return render(
        look,
        "blocks.html",
        "Guardrails",
        pictures=[Picture("verdicts_over_time", over_time)],
        tables=[
            TableBlock("What the guardrails found", rules, "verdicts"),
            TableBlock("Refused, blocked, stopped, failed", others, "not_completed"),
        ],
    )
