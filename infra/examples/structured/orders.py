"""The output model of the example agents that read orders.

`output: infra.examples.structured.orders:Order` in an agent's file makes it the agent's structured
output; WEIR_PYTHON_TOOLS=infra.examples allows its import.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class OrderLine(BaseModel):
    """One item ordered. Other fields are forbidden, so that providers can enforce the schema."""

    model_config = ConfigDict(extra="forbid")

    item: str = Field(pattern="^[A-Z]{2}-[0-9]{3}$", description="As in the catalogue, e.g. SH-200")
    pieces: int = Field(ge=1, le=1_000)


class Order(BaseModel):
    """An order in the warehouse's form."""

    model_config = ConfigDict(extra="forbid")

    customer: str = Field(min_length=1)
    lines: list[OrderLine] = Field(min_length=1)
    shipping: Literal["post", "courier"]


class Urgent(Order):
    """An order with a deadline."""

    by: str = Field(
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="The day on which it has to be there"
    )
    why: str
