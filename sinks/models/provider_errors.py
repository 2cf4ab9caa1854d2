"""The errors that model providers report inside an answer, and whether a retry may help.

An error with an HTTP status of its own is judged by that; inside a stream, or where a proxy answers
200 to everything, there is only its type.
"""

from typing import Any

from schemas.vendors.usage import UNKNOWN, ReportedUsage
from sinks.http import CallError, preview

USAGE = "usage"
FINAL = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "billing_error",
    "insufficient_quota",
    "context_length_exceeded",
    "invalid_api_key",
    "model_not_found",
}
PASSING = {
    "overloaded_error",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "server_error",
    "rate_limit_exceeded",
}
STATUS_AGAIN = {408, 409, 425, 429}


def provider_error(error: Any) -> CallError:
    """The CallError of an error object of either protocol: `type`, `message`, perhaps `code`. An
    unknown error counts as one that may pass.
    """
    told = error if isinstance(error, dict) else {"message": error}
    names = [str(told[name]) for name in ("type", "code") if isinstance(told.get(name), str | int)]
    known = next((name for name in names if name in FINAL | PASSING), None)
    status = next(
        (int(name) for name in names if name.isdecimal() and 400 <= int(name) <= 599), None
    )
    if known is not None:
        again = known in PASSING
    else:
        again = status is None or status >= 500 or status in STATUS_AGAIN
    reason = known or (f"http_{status}" if status else "provider_error")
    words = told.get("message")
    return CallError(
        reason,
        f"the provider says {words[:400] if isinstance(words, str) and words else preview(error)}",
        retryable=again,
    )


def reported_error(body: dict[str, Any]) -> CallError | None:
    """The error that a body with status 200 reports, in any of the ways that servers have for it.
    None where it reports none.
    """
    if body.get("error"):
        return provider_error(body["error"])
    if body.get("object") == "error" or body.get("type") == "error":
        return provider_error(body)
    errors = body.get("errors")
    if errors and not body.get("choices") and not body.get("content"):
        return provider_error(errors[0] if isinstance(errors, list) else errors)
    status = body.get("base_resp")
    if isinstance(status, dict) and status.get("status_code"):
        told = {"code": status["status_code"], "message": status.get("status_msg")}
        return provider_error(told)
    return None


def attach_usage(error: BaseException, usage: ReportedUsage) -> None:
    """Writes to an error, or to a cancellation, what the provider had reported until then: it will
    be on the bill.
    """
    if usage.reported and not attached_usage(error).reported:
        error.__dict__[USAGE] = usage


def attached_usage(error: BaseException) -> ReportedUsage:
    """What the provider had reported when a call failed or was cancelled."""
    return error.__dict__.get(USAGE, UNKNOWN)
