"""Records that could not be processed."""

from fastapi.responses import HTMLResponse

from streams.console.page import Page, TableBlock, render
from streams.console.queries import (
    LIMIT,
    MINE,
    SINCE,
    PageQuery,
)
from streams.console.request import PageRequestOf

QUERIES: dict[str, PageQuery] = {
    "dead_letters": PageQuery(
        "Dead letters",
        f"""
SELECT at, tenant, source, consumer, reason, detail, length(record_value) AS bytes,
       toValidUTF8(substring(record_value, 1, 400)) AS begins FROM dead_letters WHERE {MINE}
       AND {SINCE}
ORDER BY at DESC {LIMIT}""",
    ),
}

PAGE = Page("dead-letters", "Dead letters", 80, QUERIES)


@PAGE.router.get("/dead-letters")
async def dead_letters(look: PageRequestOf, said: str = "") -> HTMLResponse:
    rows = await look.rows("dead_letters")
    return render(
        look,
        "dead-letters.html",
        "Dead letters",
        letters=rows,
        said=said[:300],
        tables=[
            TableBlock(
                "Dead letters",
                rows,
                "dead_letters",
                empty="Everything could be processed in this time.",
            )
        ],
    )
