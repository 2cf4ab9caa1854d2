"""The actions of the console: sign in, decide an approval, replay dead letters, fork a run.

Whatever changes something is a POST from this very site: the cookie is not sent from others, and
the origin is checked.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import httpx
from confluent_kafka import KafkaException
from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from schemas.events.base import Event
from schemas.wire.codec import Codec
from sinks.objects import ObjectStore
from streams.cli.runs.forks import result
from streams.console.page import ENVIRONMENT, FOLDER, HEADERS, TableBlock, Tile, render
from streams.console.request import (
    COOKIE,
    PageRequest,
    PageRequestOf,
    SignInNeededError,
    page_request,
)
from streams.engine import dead_letters
from streams.engine.schema_registry import Registry, RegistryUnavailableError
from streams.gateway.auth import KEY_FORM as KEY
from streams.gateway.errors import ProblemError
from streams.gateway.routes import approvals
from streams.gateway.runs import submit
from streams.lab.replay import fork as forking
from streams.lab.replay import run_history
from streams.ports.wiring import ports_over

router = APIRouter(prefix="/console", include_in_schema=False)
ASSETS = {"console.css": "text/css", "console.js": "text/javascript"}
FORK_USD_MAX = Decimal(10)
FORM_BYTES_MAX = 200_000
COOKIE_S = 12 * 3600


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that this site itself sent. Raises ProblemError 403 for any other."""
    origin = urlsplit(request.headers.get("origin", ""))
    if origin.netloc != request.headers.get("host"):
        raise ProblemError(
            403,
            "other_site",
            "this form was not sent by the console itself: open the page again and send it there",
        )
    body = await request.body()
    if len(body) > FORM_BYTES_MAX:
        raise ProblemError(
            413, "too_large", f"the form has more than {FORM_BYTES_MAX:,} bytes: shorten it"
        )
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


Form = Annotated[dict[str, str], Depends(form_of)]


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    if name not in ASSETS:
        raise ProblemError(404, "unknown_asset", "there is no such file")
    return FileResponse(
        FOLDER / name, media_type=ASSETS[name], headers={"cache-control": "max-age=300"}
    )


def sign_in_page(said: str = "") -> HTMLResponse:
    return HTMLResponse(
        ENVIRONMENT.get_template("sign-in.html").render(said=said), 401, headers=HEADERS
    )


@router.post("/sign-in")
async def sign_in(form: Form, request: Request) -> Response:
    key = form.get("key", "").strip()
    if not KEY.fullmatch(key):
        return sign_in_page("This is no API key: it begins with weir_.")
    request.cookies[COOKIE] = key
    try:
        await page_request(request)
    except SignInNeededError as why:
        return sign_in_page(str(why))
    answer = RedirectResponse("/console", 303)
    answer.set_cookie(
        COOKIE,
        key,
        max_age=COOKIE_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/console",
    )
    return answer


@router.post("/sign-out")
async def sign_out(form: Form) -> Response:
    answer = sign_in_page("You are signed out.")
    answer.delete_cookie(COOKIE, path="/console")
    return answer


@router.get("/live")
async def live(look: PageRequestOf) -> JSONResponse:
    """The last hour's figures out of the live views. They cover all tenants, so only readers of all
    tenants get them.
    """
    if not look.sees_all:
        return JSONResponse({"figures": []})
    try:
        async with httpx.AsyncClient(timeout=2) as http:
            told = await http.get(
                f"http://127.0.0.1:{look.gateway.settings.live_port}/api/live",
                params={"minutes": 60},
            )
        total = told.raise_for_status().json()["total"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise ProblemError(
            503,
            "live_away",
            "the live views do not answer: `./weir status` says whether they run",
            retry_after_s=2,
        ) from error
    return JSONResponse(
        {
            "figures": [
                {"title": name.replace("_", " ").removesuffix(" usd"), "value": figure(name, value)}
                for name, value in total.items()
                if not isinstance(value, dict | list)
            ]
        }
    )


def figure(name: str, value: Any) -> str:
    """A figure of the live views as people read it."""
    if value is None:
        return "–"
    return f"${Decimal(str(value)):,.4f}" if name.endswith("usd") else f"{value:,.0f}"


@router.post("/approvals/{approval}")
async def decide(approval: UUID, form: Form, look: PageRequestOf) -> Response:
    if not look.may("approve"):
        raise ProblemError(403, "no_scope", "this key may not decide: it needs the scope approve")
    tenant = look.caller.tenant or form.get("tenant", "")
    said = submit.checked_event(
        approvals.Decision,
        decision=form.get("decision", ""),
        by=form.get("by", ""),
        note=form.get("note", ""),
        arguments=form.get("arguments", "").strip() or None,
    )
    await look.gateway.publish(
        approvals.decision_event(look.caller, tenant, approval, form.get("session", ""), said)
    )
    return RedirectResponse("/console/approvals", 303)


@router.post("/dead-letters")
async def replay(form: Form, look: PageRequestOf) -> Response:
    if not look.may("admin"):
        raise ProblemError(
            403, "no_scope", "this key may not replay dead letters: it needs the scope admin"
        )
    shown = {row["source"] for row in await look.rows("dead_letters")}
    wanted = {form["source"]} if form.get("source") else shown

    def back() -> int:
        settings = look.gateway.settings
        letters = [
            letter
            for letter in dead_letters.read_all(settings, Codec(Registry(settings)))
            if letter.source in wanted & shown and look.tenant in ("", letter.tenant)
        ]
        return dead_letters.replay(settings, letters)

    count = await read_kafka(back)
    said = f"{count} given back" + (
        "" if count else ": whatever was asked for had been given back before"
    )
    return RedirectResponse("/console/dead-letters?" + urlencode(look.query(said=said)), 303)


@router.post("/runs/{run}/fork")
async def fork(run: UUID, form: Form, look: PageRequestOf) -> HTMLResponse:
    if not look.may("request"):
        raise ProblemError(
            403, "no_scope", "this key may not ask models: it needs the scope request"
        )
    change = fork_change(form)
    found = await look.rows("run", run=str(run))
    if not found:
        raise ProblemError(404, "unknown_run", f"there is no finished run {run} here")
    settings = look.gateway.settings
    row = found[0]

    def history() -> list[Event]:
        codec = Codec(Registry(settings), ObjectStore(settings.object_store()))
        return run_history.of_session(
            settings, codec, row["tenant"], row["session"], row["started_at"]
        )

    past = run_history.of_run(await read_kafka(history), run)
    async with httpx.AsyncClient(timeout=None) as http:
        try:
            made = await forking.fork(
                past,
                look.gateway.link.current_definitions(),
                change,
                ports_over(settings, http, http)["chat"],
                look.gateway.publish,
            )
        except forking.ForkError as why:
            raise ProblemError(409, "unforkable", f"run {run} cannot be forked: {why}") from why
    return fork_page(
        look,
        run,
        result(past, next((e for e in past if isinstance(e, forking.RunFinished)), None), made),
    )


async def read_kafka(read: Callable[[], Any]) -> Any:
    """What a thread reads from Kafka. Raises ProblemError 503 where that is down."""
    try:
        return await asyncio.to_thread(read)
    except (ConnectionError, KafkaException, RegistryUnavailableError) as error:
        raise ProblemError(
            503,
            "kafka_away",
            f"Kafka does not answer ({type(error).__name__}): `./weir status` says whether it is "
            "up; send the form again in a moment",
            retry_after_s=2,
        ) from error


def fork_change(form: dict[str, str]) -> forking.Change:
    """What a fork is to change. Raises ProblemError 422."""
    try:
        cost = Decimal(form.get("max_cost", "0.10"))
        if not cost.is_finite() or not 0 <= cost <= FORK_USD_MAX:
            raise ValueError("no amount")
        return forking.Change(
            max(1, int(form.get("step", "1"))),
            form.get("prompt") or None,
            form.get("model") or None,
            cost,
        )
    except (ValueError, InvalidOperation) as error:
        raise ProblemError(
            422,
            "no_number",
            f"the step is a number from 1, the cost one from 0 to {FORK_USD_MAX}: correct them; "
            "what may cost more is asked with `./weir runs fork --max-cost`",
        ) from error


def fork_page(look: PageRequest, run: UUID, told: dict[str, Any]) -> HTMLResponse:
    ends = [
        {
            "": name,
            "then": str((told["then"] or {}).get(name)),
            "now": str((told["now"] or {}).get(name)),
        }
        for name in ("outcome", "answer", "model_calls", "tool_calls", "tokens", "cost_usd")
    ]
    return render(
        look,
        "fork.html",
        f"Fork of {str(run)[:8]}",
        run=run,
        about=f"{told['replayed_steps']} steps were replayed.",
        figures=[
            Tile("Different answers", str(told["different"])),
            Tile("The fork cost", f"${told['fork_cost_usd']:,.6f}"),
            Tile("Calls without a recorded result", str(len(told["not_recorded"]))),
        ],
        tables=[
            TableBlock("What the model said", told["steps"], note="then and now"),
            TableBlock("How it ended", ends, note="then and now"),
        ],
    )
