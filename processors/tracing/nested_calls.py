"""Finds spans that report the same model call: a framework's around its provider's.

Both have the tokens, and the money is paid once. The innermost counts, as it knows the most of the
call. Spans usually come in the order in which they end, the inner first; where the outer one was
counted already, those inside it are not.
"""

from dataclasses import dataclass, replace

LINKS_MAX = 2_000
"""The spans of a trace of which the parents are known, the last ones."""
ID_CHARS = 17


@dataclass(frozen=True)
class Links:
    """`parents` has `,span>parent` for spans through which a call can be reported twice, `around`
    the spans around a call that was counted, `counted` the spans of counted calls; each id behind a
    comma.
    """

    parents: str = ""
    around: str = ""
    counted: str = ""

    def reports_again(self, span: str, parent: str | None) -> bool:
        """Whether the call of this span was counted by one inside it, or one around it."""
        return f",{span}" in self.around or any(
            f",{each}" in self.counted for each in self._above(parent)
        )

    def with_span(self, span: str, parent: str | None, is_counted: bool) -> "Links":
        """The links with another span. A call that is counted marks all that is around it."""
        if parent is None:
            return replace(self, counted=_more(self.counted, span)) if is_counted else self
        links = replace(self, parents=_more(self.parents, f"{span}>{parent}", 2 * ID_CHARS))
        if is_counted:
            links = replace(links, counted=_more(links.counted, span))
        if is_counted or f",{span}" in links.around:
            for above in links._above(parent):
                links = replace(links, around=_more(links.around, above))
        return links

    def _above(self, parent: str | None) -> list[str]:
        """The span of this id and those around it, as far as they are known."""
        found: list[str] = []
        while parent and parent not in found:
            found.append(parent)
            at = self.parents.find(f",{parent}>")
            begin = at + ID_CHARS + 1
            parent = self.parents[begin : begin + ID_CHARS - 1] if at >= 0 else None
        return found


def _more(ids: str, entry: str, chars: int = ID_CHARS) -> str:
    return (ids + f",{entry}")[-LINKS_MAX * chars :]
