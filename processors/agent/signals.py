"""Which signals from outside does a session keep for the workflow that will wait for them, and
which does it refuse?

A signal may come before the node that waits for it, even before the run: services do not know how
far a run has come. So it is kept in the session, in order, until a node takes it. The same event
twice is one signal.
"""

from dataclasses import replace

from processors.agent.progress import Signal
from processors.agent.state import Session
from schemas.events.agent.signals import Signalled, SignalRefused

SIGNALS_MAX = 20
PAYLOAD_CHARS_MAX = 100_000
KNOWN_MAX = 50


def keep(session: Session, event: Signalled) -> tuple[Session, list[SignalRefused]]:
    """The session with one signal more; without it, and why, where it has no room for it."""
    if event.id in session.signals_known:
        return session, []
    if len(event.payload) > PAYLOAD_CHARS_MAX:
        detail = (
            f"the payload has {len(event.payload):,} characters, at most {PAYLOAD_CHARS_MAX:,} are allowed: "
            "send a reference to it"
        )
        return session, [event.then(SignalRefused, reason="too_large", detail=detail)]
    if len(session.signals) >= SIGNALS_MAX:
        detail = f"{len(session.signals)} signals wait in this session that no node has taken: send it again later"
        return session, [event.then(SignalRefused, reason="too_many", detail=detail)]
    return replace(
        session,
        signals=(*session.signals, Signal(event.id, event.name, event.payload)),
        signals_known=(*session.signals_known, event.id)[-KNOWN_MAX:],
    ), []
