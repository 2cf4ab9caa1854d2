"""Which id has a schema on the wire, and which schema has an id? The registry says so, once.

What it says never changes, so it is kept in a file: a worker that is started again moves at once,
even while the registry is away. A registry that does not answer is waited for; only its own "there
is none" means an unknown schema.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from schemas.catalogue import event_classes
from schemas.events.base import Event
from schemas.wire.avro_schema import schema_of
from schemas.wire.record_types import type_name
from schemas.wire.writer_schemas import AVRO, Registered
from streams.config import Settings

COMPATIBILITY = "FULL_TRANSITIVE"
NOT_THERE = {404}
REFUSED = {409, 422}
ID_MAX = 2**31 - 1
"""The greatest id: registries keep them as signed numbers of four bytes."""
REFERENCES_MAX = 100
UNKNOWN_FOR_S = 30.0
UNKNOWN_KEPT = 1_000
AT_ONCE = 4
T = TypeVar("T")


class RegistryUnavailableError(Exception):
    """The registry did not answer for as long as it was waited for."""


class NotRegisteredError(Exception):
    """An event class whose schema was never registered here: deployment was not run with this
    version.
    """


class Registry:
    """Ids of schemas, as `schemas.wire.codec.Ids`. Safe for threads; `beat` is called while it is
    waited for.

    Raises RegistryUnavailableError after `patience_s` without an answer, NotRegisteredError for a
    class that deployment left out.
    """

    def __init__(
        self, settings: Settings, beat: Callable[[], None] = lambda: None, patience_s: float = 120
    ):
        self._settings, self._beat, self._patience_s = settings, beat, patience_s
        self._facts = Facts(settings.home / "run" / "schemas.json", settings.registry())
        self._unknown: dict[int, float] = {}
        self._lock = threading.RLock()

    def id_of(self, kind: type[Event]) -> int:
        """The id under which the class's schema is registered."""
        subject, schema, place = self._place(kind)
        with self._lock:
            known = self._facts.get("ids", place)
            if known is None:
                found = self._ask(lambda: self._client.lookup_schema(subject, avro(schema)))
                if found is None:
                    raise NotRegisteredError(
                        f"the registry has no {kind.__name__} of this version under {subject}: run "
                        f"`weir deploy`, which registers the schemas, and start this worker again"
                    )
                known = found.schema_id
                self._facts.put("ids", place, known)
        return known

    def _place(self, kind: type[Event]) -> tuple[str, str, str]:
        """Subject, schema, and the name under which the id of both is kept."""
        subject, schema = subject_of(self._settings, kind), canonical(schema_of(kind))
        return subject, schema, f"{subject}:{hashlib.sha256(schema.encode()).hexdigest()}"

    def knows(self, kind: type[Event]) -> int | None:
        """The id that this registry once gave to the class's schema, without asking it again."""
        return self._facts.get("ids", self._place(kind)[2])

    def schema_with(self, schema_id: int) -> Registered | None:
        """The schema of an id, with those that it refers to; None where the registry says that
        there is none.
        """
        if schema_id > ID_MAX:
            return None
        with self._lock:
            noted = self._facts.get("registered", str(schema_id))
            if noted is not None:
                return Registered(**noted | {"references": tuple(noted["references"])})
            if self._unknown.get(schema_id, 0) >= time.monotonic():
                return None
            found = self._asked_for(schema_id)
            self._remember(schema_id, found)
        return found

    def _asked_for(self, schema_id: int) -> Registered | None:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            found = self._ask(lambda: self._client.get_schema(schema_id))
        except SchemaRegistryError:  # it refuses the id, and will again
            return None
        if found is None:
            return None
        if found.schema_type != AVRO:
            return Registered("", str(found.schema_type))
        texts: dict[tuple[str, int], str] = {}
        missing = self._resolve(found.references, texts)
        return Registered(str(found.schema_str), AVRO, tuple(texts.values()), missing)

    def _resolve(self, references: list[Any] | None, into: dict[tuple[str, int], str]) -> str:
        """Adds what is referred to, each behind what it needs itself; the first that cannot be had,
        in words, or "".
        """
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        for one in references or ():
            place = one.subject, one.version
            named = f"{one.name} ({one.subject}, version {one.version})"
            if place in into:
                continue
            into[place] = ""  # so that a circle has an end
            if len(into) >= REFERENCES_MAX:
                return f"more than {REFERENCES_MAX} schemas, {named} among them"
            try:
                found = self._ask(lambda place=place: self._client.get_version(*place))
            except SchemaRegistryError:
                found = None
            if found is None or found.schema.schema_type != AVRO:
                return named
            missing = self._resolve(found.schema.references, into)
            if missing:
                return missing
            del into[place]
            into[place] = str(found.schema.schema_str)
        return ""

    def register(self, kind: type[Event]) -> int:
        """Registers the class's schema, under full compatibility. Raises SystemExit with a sentence
        when refused.
        """
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        subject, schema = subject_of(self._settings, kind), schema_of(kind)
        self._compatible(subject)
        try:
            known = self._ask(
                lambda: self._client.register_schema(subject, avro(canonical(schema)))
            )
        except SchemaRegistryError as error:
            raise SystemExit(self._refusal(kind, subject, schema, error)) from error
        if known is None:
            raise SystemExit(
                f"the registry at {self._settings.registry()} does not know how to register "
                f"{subject}: "
                f"is WEIR_REGISTRY_URL the address of its Confluent-compatible API?"
            )
        with self._lock:  # so that no worker need ask
            self._facts.put("registered", str(known), asdict(Registered(canonical(schema))))
            self._facts.put("ids", self._place(kind)[2], known)
        return known

    def _compatible(self, subject: str) -> None:
        from confluent_kafka.schema_registry import ConfigCompatibilityLevel, ServerConfig

        wanted = ConfigCompatibilityLevel(COMPATIBILITY)
        now = self._ask(lambda: self._client.get_config(subject))
        if now is None or now.compatibility_level != wanted:
            self._ask(lambda: self._client.set_config(subject, ServerConfig(compatibility=wanted)))

    def _refusal(
        self, kind: type[Event], subject: str, schema: dict[str, Any], error: Exception
    ) -> str:
        from schemas.wire.compatibility import breaks

        latest = self._ask(lambda: self._client.get_latest_version(subject))
        reasons = breaks(json.loads(latest.schema.schema_str), schema) if latest else []
        why = "; ".join(reasons) or str(error)
        return (
            f"{kind.__name__} cannot be registered as {subject}, because readers or writers that "
            "are deployed "
            f"would break: {why}. Give a new field a default and keep the old ones, or name a new "
            "event."
        )

    def _remember(self, schema_id: int, schema: Registered | None) -> None:
        """For ever in the file, but for what may come yet: a schema that is not there, or one it
        refers to.
        """
        if schema is not None and not schema.missing:
            self._facts.put("registered", str(schema_id), asdict(schema))
        if schema is not None:
            return
        if len(self._unknown) >= UNKNOWN_KEPT:
            self._unknown.clear()
        self._unknown[schema_id] = time.monotonic() + UNKNOWN_FOR_S

    def _ask(self, request: Callable[[], T]) -> T | None:
        """The answer; None for "not there". Refusals are raised, anything else is waited for and
        asked again.
        """
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        deadline, pause = time.monotonic() + self._patience_s, 0.1
        while True:
            self._beat()
            try:
                return request()
            except SchemaRegistryError as error:
                if error.http_status_code in NOT_THERE:
                    return None
                if error.http_status_code in REFUSED:
                    raise
                why = f"it says {error.http_status_code}: {error.error_message}"
            except OSError as error:  # what the client lets through of a connection that breaks
                why = str(error)
            except Exception as error:
                # A proxy in front of it that answers for it while it is away gives no JSON.
                if not isinstance(error, ValueError) and not type(error).__module__.startswith(
                    ("httpx", "httpcore")
                ):
                    raise
                why = f"{type(error).__name__}: {error}"
            if time.monotonic() > deadline:
                raise RegistryUnavailableError(
                    f"the schema registry at {self._settings.registry()} did not answer for "
                    f"{self._patience_s:.0f} s ({why}): start it, or set WEIR_REGISTRY_URL"
                )
            time.sleep(pause)
            pause = min(pause * 2, 2.0)

    @cached_property
    def _client(self) -> Any:
        """Made when something is unknown: most starts of a worker need none."""
        from confluent_kafka.schema_registry import SchemaRegistryClient

        auth = self._settings.registry_auth.get_secret_value()
        return SchemaRegistryClient(
            {"url": self._settings.registry(), "timeout": 5, "max.retries": 0}
            | ({"basic.auth.user.info": auth} if auth else {})
        )


class Facts:
    """What one registry once said, in a file that all workers share. Written whole; a lost race
    costs one question.
    """

    def __init__(self, path: Path, registry: str):
        self._path, self._registry = path, registry
        self._known: dict[str, dict[str, Any]] = self._read().get(registry, {})

    def get(self, table: str, name: str) -> Any:
        return self._known.get(table, {}).get(name)

    def put(self, table: str, name: str, value: Any) -> None:
        everything = self._read()
        theirs = everything.get(self._registry, {})
        self._known = {t: theirs.get(t, {}) | self._known.get(t, {}) for t in ("ids", "registered")}
        self._known[table][name] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.{threading.get_ident()}")
        new.write_text(json.dumps(everything | {self._registry: self._known}))
        new.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:  # a disk that was full: the registry is asked again
            return {}


def subject_of(settings: Settings, kind: type[Event]) -> str:
    """The subject of a class's schemas: of a class with a topic of its own `<topic>-value`, which
    is what consumers' tools look for; of one that shares a log the record's full name.
    """
    return f"{settings.prefix}{type_name(kind) if kind.log else kind.topic() + '-value'}"


def canonical(schema: dict[str, Any]) -> str:
    return json.dumps(schema, sort_keys=False, separators=(",", ":"))


def avro(schema: str) -> Any:
    from confluent_kafka.schema_registry import Schema

    return Schema(schema, "AVRO")


def register_all(
    settings: Settings, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, int]:
    """Registers every event class and returns ids by class name. Raises SystemExit with a sentence
    when refused.

    The embedded registry keeps its schemas beside our notes of them, so it is not asked twice; a
    real one always is.
    """
    registry, kinds = Registry(settings), event_classes()
    done: dict[str, int] = {}
    progress(0, len(kinds))

    def make(kind: type[Event]) -> int:
        noted = None if settings.registry_url else registry.knows(kind)
        return registry.register(kind) if noted is None else noted

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, schema_id in zip(kinds, pool.map(make, kinds.values()), strict=True):
            done[name] = schema_id
            progress(len(done), len(kinds))
    return done
