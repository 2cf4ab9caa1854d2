"""What all definitions have in common."""

from typing import ClassVar

from schemas.events.base import Value
from schemas.events.values import Name


class Definition(Value):
    """`name` is unique within its kind. A version of a definition never changes."""

    kind: ClassVar[str]
    name: Name
    description: str = ""
