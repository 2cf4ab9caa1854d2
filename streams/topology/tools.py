"""Calls of tools, through the port `tool`."""

from processors.tools import call
from streams.engine.shapes import Call, Step

STEPS = (Step("use_tool", Call(call.ask, "tool", call.tell, ordered=False)),)
