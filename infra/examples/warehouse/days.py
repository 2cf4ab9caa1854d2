"""A Python function as a tool: counts the days from one date to another."""

from datetime import date


def days_until(today: str, day: str) -> dict[str, int | str]:
    """The tool's result; the text of an exception is sent to the model as the call's error."""
    passed = (date.fromisoformat(day) - date.fromisoformat(today)).days
    if passed < 0:
        raise ValueError(f"{day} was {-passed} days before {today}")
    return {"days": passed, "day": date.fromisoformat(day).strftime("%A")}
