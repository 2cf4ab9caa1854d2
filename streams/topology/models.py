"""Calls of models, through the port `chat`; what a model says while it says it is a hint."""

from processors.models import call
from schemas.events.model_chunks import ModelChunk
from streams.engine.shapes import Call, Step

CHAT = Call(call.ask, "chat", call.tell, ordered=False, repeatable=True, hints=ModelChunk)
STEPS = (Step("ask_model", CHAT),)
