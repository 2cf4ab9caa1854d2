"""How well do the agents answer: what moved, what fails alike, what was done in vain, where does
the time go?

Ready queries, as `./weir query --named` asks them, for the tenant and the time that the page shows.
"""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from streams.console.page import EXACT, Table, render
from streams.console.queries import QUALITY, ROWS
from streams.console.request import Reading

router = APIRouter(prefix="/console", include_in_schema=False)


@router.get("/quality")
async def quality(look: Reading) -> HTMLResponse:
    found = await look.all(*QUALITY)
    return render(
        look,
        "blocks.html",
        "Quality",
        about="Every table is a ready query: ./weir query --named NAME.",
        tables=[
            Table(ROWS[name].title, rows, name, note=f"{EXACT}: {name}")
            for name, rows in zip(QUALITY, found, strict=True)
        ],
    )
