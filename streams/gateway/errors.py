"""Errors as HTTP answers: problems of RFC 9457, which say what is wrong and what to do.

Each has a member `error` in the shape that OpenAI's and Anthropic's clients read.
"""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""The error types of these clients by status; others below 500 are invalid requests, from 500 on
they are API errors.
"""


class SafeJsonResponse(JSONResponse):
    """JSON that may repeat a caller's text: half a surrogate pair, which JSON can carry, becomes a
    question mark.
    """

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )


class ProblemError(Exception):
    """An error that the caller, or the operator, can correct. `code` is its short name, `detail`
    what is wrong and what to do, `more` further members of the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, retry_after_s: float | None = None, **more: Any
    ):
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.more = more


def not_json(what: str, error: Exception) -> ProblemError:
    """The problem of a body that is no JSON, or is nested too deep to be read."""
    if isinstance(error, RecursionError):
        return ProblemError(
            400, "not_json", f"{what} is nested too deep: send JSON with fewer levels"
        )
    return ProblemError(400, "not_json", f"{what} is not JSON ({error}): send JSON, in UTF-8")


def problem_response(problem: ProblemError, path: str = "") -> JSONResponse:
    """The problem as an HTTP response."""
    status = problem.status
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    headers = (
        {}
        if problem.retry_after_s is None
        else {"Retry-After": str(max(1, round(problem.retry_after_s)))}
    )
    if status >= 500 and problem.retry_after_s is None:
        headers["x-should-retry"] = (
            "false"  # what OpenAI's and Anthropic's clients heed: a run is not to be paid twice
        )
    if status == 408:
        headers["Connection"] = "close"  # the rest of it may still come
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {
        "type": f"urn:weir:problem:{problem.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": problem.detail,
        "instance": path,
        "code": problem.code,
        **problem.more,
        "error": {"type": kind, "message": problem.detail, "code": problem.code, "param": None},
    }
    return SafeJsonResponse(body, status, headers, MEDIA_TYPE)


def validation_problem(
    error: RequestValidationError, media_type: str = "application/json"
) -> ProblemError:
    """The first validation error of a request, in one sentence with its location; all of them are
    in `errors`.
    """
    found = [
        {"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()
    ]
    first = error.errors()[0]
    if (
        not media_type.endswith("json") and first["loc"] == ("body",) and first["type"] != "missing"
    ):  # `curl -d` says so
        return ProblemError(
            415,
            "not_json",
            f"the body is said to be {media_type or 'of no type'}: send JSON, with the header "
            "Content-Type: application/json",
        )
    if first["type"] == "json_invalid":
        return not_json("the body", ValueError(first["ctx"]["error"]))
    what = {"extra_forbidden": "is not known here: remove it", "missing": "is missing: add it"}.get(
        first["type"], f"is wrong: {first['msg']}"
    )
    return ProblemError(422, "invalid_request", f"{found[0]['where']} {what}", errors=found)


def install_handlers(app: FastAPI, page: Callable[[ProblemError], Response]) -> None:
    """Makes the application answer with problems, whatever fails in it; browsers at the console get
    a `page`.
    """

    def told(request: Request, problem: ProblemError) -> Response:
        person = request.url.path.startswith("/console") and "text/html" in request.headers.get(
            "accept", ""
        )
        return page(problem) if person else problem_response(problem, request.url.path)

    @app.exception_handler(ProblemError)
    async def _(request: Request, problem: ProblemError) -> Response:
        return told(request, problem)

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return told(request, validation_problem(error, media_type(request)))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        answered = told(request, routing_problem(request, error))
        answered.headers.update(error.headers or {})  # 405 says in Allow what is done
        return answered

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> Response:
        return told(
            request,
            ProblemError(
                500,
                "internal",
                f"{type(error).__name__} in the gateway: its log says more; the same "
                "request with the same Idempotency-Key is safe to send again",
            ),
        )


def media_type(request: Request) -> str:
    """The media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def routing_problem(request: Request, error: HTTPException) -> ProblemError:
    """The problem of a request that the framework itself refuses: an unknown path or method, a body
    that it cannot read.
    """
    path = request.url.path
    if error.status_code == 404:
        return ProblemError(
            404, "unknown_path", f"there is nothing at {path}: /openapi.json lists what there is"
        )
    if error.status_code == 405:
        return ProblemError(
            405,
            "unknown_method",
            f"{request.method} is not done at {path}: /openapi.json lists what is",
        )
    if isinstance(error.__cause__, ProblemError):  # while the body came
        return error.__cause__
    if error.status_code == 400 and isinstance(error.__cause__, RecursionError | ValueError):
        if packing := request.headers.get("content-encoding"):
            return ProblemError(
                415,
                "packed",
                f"Content-Encoding {packing[:40]!r} is not known here: send the body as it is "
                "(only "
                "/v1/traces and /v1/logs take it packed)",
            )
        return not_json("the body", error.__cause__)
    return ProblemError(error.status_code, "http", str(error.detail))
