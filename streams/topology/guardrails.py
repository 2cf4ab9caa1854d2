"""Screening: policies look at requests, answers of models and results of tools."""

from processors.guardrails import screen
from streams.engine.shapes import Each, Step

STEPS = (
    Step("screen_request", Each(screen.screen_request)),
    Step("screen_response", Each(screen.screen_response)),
    Step("screen_result", Each(screen.screen_result)),
)
