"""Feedback of people, joined to the run that it is about."""

from processors.quality import feedback
from streams.engine.shapes import Fold, Step

STEPS = (Step("join_feedback", Fold(feedback.Runs, feedback.join)),)
