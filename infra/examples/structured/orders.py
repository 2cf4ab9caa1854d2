"""What is an order, as the agents beside it promise to read one?

`output: infra.examples.structured.orders:Order` in an agent's file makes this its contract:
WEIR_PYTHON_TOOLS=infra.examples allows it to be imported.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Line(BaseModel):
    """One thing ordered. No field but these: then providers can hold a model to it themselves."""

    model_config = ConfigDict(extra="forbid")

    item: str = Field(pattern="^[A-Z]{2}-[0-9]{3}$", description="As in the catalogue, e.g. SH-200")
    pieces: int = Field(ge=1, le=1_000)


class Order(BaseModel):
    """An order as the warehouse takes it."""

    model_config = ConfigDict(extra="forbid")

    customer: str = Field(min_length=1)
    lines: list[Line] = Field(min_length=1)
    shipping: Literal["post", "courier"]


class Urgent(Order):
    """An order that somebody waits for."""

    by: str = Field(
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="The day on which it has to be there"
    )
    why: str
