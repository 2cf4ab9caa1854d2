"""Sessions, and the conversation of one."""

from fastapi.responses import HTMLResponse

from streams.console.page import Page, TableBlock, render
from streams.console.queries import (
    LIMIT,
    MINE,
    ROWS_SHOWN,
    PageQuery,
)
from streams.console.request import PageRequestOf

QUERIES: dict[str, PageQuery] = {
    "sessions": PageQuery(
        "Sessions",
        f"""
SELECT tenant, session, user, agents, started_at, ended_at, runs_ended, completed, refused,
       model_calls, tool_calls,
       input_tokens, output_tokens, cost_usd
FROM sessions WHERE {MINE} AND ended_at >= now64(3, 'UTC') - INTERVAL {{hours:UInt32}} HOUR
ORDER BY ended_at DESC {LIMIT}""",
    ),
    "session": PageQuery(
        "Conversation",
        f"""
SELECT at, run, agent, agent_version AS version, outcome, reason, wait_ms, cost_usd, question,
       answer FROM runs
WHERE session = {{session:String}} AND {MINE} ORDER BY started_at DESC {LIMIT}""",
    ),
}

PAGE = Page("sessions", "Sessions", 20, QUERIES)


@PAGE.router.get("/sessions")
async def sessions(look: PageRequestOf) -> HTMLResponse:
    return render(
        look,
        "blocks.html",
        "Sessions",
        tables=[TableBlock("Sessions", await look.rows("sessions"), "sessions")],
    )


@PAGE.router.get("/session")
async def session(session: str, look: PageRequestOf) -> HTMLResponse:
    rows = await look.rows("session", session=session)
    return render(
        look,
        "session.html",
        f"Session {session[:40]}",
        session=session,
        runs=rows[::-1],
        more=len(rows) == ROWS_SHOWN,
    )
