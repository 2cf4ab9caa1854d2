"""How many days is it from one day to another?"""

from datetime import date


def days_until(today: str, day: str) -> dict[str, int | str]:
    """A tool's result is what its function returns; an exception is told to the model in its own
    words.
    """
    passed = (date.fromisoformat(day) - date.fromisoformat(today)).days
    if passed < 0:
        raise ValueError(f"{day} was {-passed} days before {today}")
    return {"days": passed, "day": date.fromisoformat(day).strftime("%A")}
