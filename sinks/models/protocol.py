"""What the client of models needs of a provider's protocol."""

from typing import Any, Protocol

from schemas.ports import ChatQuestion, Endpoint
from schemas.vendors.usage import ReportedUsage


class StreamAccumulator(Protocol):
    """What the events of a streamed reply add up to. `over` once the mark of its end has come,
    `finished` once the provider has said why it ended: whatever becomes of the connection then, the
    answer is whole. `size` is the number of characters so far.
    """

    over: bool
    size: int

    @property
    def finished(self) -> bool:
        """Whether the provider has said why the answer ended."""
        ...

    def take(self, event: str, data: str) -> str | None:
        """The text that an event adds: "" for a token that is not text, None for no token."""
        ...

    def body(self) -> dict[str, Any]:
        """The reply as it would have come in one piece."""
        ...

    def usage(self) -> ReportedUsage:
        """What the provider has reported so far that the answer took."""
        ...


class ModelProtocol(Protocol):
    """How one provider's API writes a request and an answer. Pure: it moves no bytes."""

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that speak it, as model definitions name them."""
        ...

    @property
    def path(self) -> str:
        """What comes after the endpoint's `base_url`."""
        ...

    def headers(self, key: str) -> dict[str, str]:
        """The headers that carry an API key; the key may be empty."""
        ...

    def request_body(self, endpoint: Endpoint, question: ChatQuestion) -> dict[str, Any]:
        """The body of a request. A setting that is not given is left out."""
        ...

    def answer_of(self, body: Any) -> dict[str, Any]:
        """The fields of a ChatAnswer in the body of a reply. Raises CallError where it is none."""
        ...

    def stream(self) -> StreamAccumulator:
        """A new accumulator for the events of one streamed reply."""
        ...
