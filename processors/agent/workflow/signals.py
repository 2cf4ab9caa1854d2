"""Signals from outside: which of them a session keeps for the workflow that will wait for them.

A signal may come before the node that waits for it, even before the run: services do not know how
far a run has come. So it is kept in the session, in order, until a node takes it. The same event
twice is one signal.
"""

from dataclasses import replace

from processors.agent.decisions import RefuseSignal
from processors.agent.modes import PendingSignal
from processors.agent.state import Active, Session
from schemas.events.agent.signals import Signalled

SIGNALS_MAX = 20
PAYLOAD_CHARS_MAX = 100_000
KNOWN_MAX = 50


def keep(session: Session, event: Signalled) -> tuple[Session, tuple[RefuseSignal, ...]]:
    """The session with one signal more; without it, and why, where it has no room for it."""
    if event.id in session.signals_known:
        return session, ()
    if len(event.payload) > PAYLOAD_CHARS_MAX:
        detail = (
            f"the payload has {len(event.payload):,} characters, at most "
            f"{PAYLOAD_CHARS_MAX:,} are allowed: send a reference to it"
        )
        return session, (RefuseSignal("too_large", detail),)
    if len(session.signals) >= SIGNALS_MAX:
        detail = (
            f"{len(session.signals)} signals wait in this session that no node has taken: "
            "send it again later"
        )
        return session, (RefuseSignal("too_many", detail),)
    session = replace(
        session,
        signals=(*session.signals, PendingSignal(event.id, event.name, event.payload)),
        signals_known=(*session.signals_known, event.id)[-KNOWN_MAX:],
    )
    return session, ()


def taken(session: Active, name: str) -> tuple[Active, PendingSignal | None]:
    """The oldest signal of this name that waits, and the session without it."""
    signal = next((one for one in session.signals if one.name == name), None)
    if signal is None:
        return session, None
    rest = tuple(one for one in session.signals if one is not signal)
    return replace(session, signals=rest), signal
