"""What do all definitions have in common?"""

from typing import Annotated, ClassVar

from pydantic import Field

from schemas.base import Value

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]


class Definition(Value):
    """`name` is unique within its kind. A version of a definition never changes."""

    kind: ClassVar[str]
    name: Name
    description: str = ""
