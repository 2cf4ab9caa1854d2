"""The store of bodies that are too large for an event: a folder, or any object store that fsspec
knows.

An object's key is derived from its content, so it is written once and a repeat does no harm. It is
stored before the event that names it is produced. An object that no event names was left by a
crash, and is removed with the oldest. One that is put again after a day is written again: the age
of an object is that of the newest event that names it, within a day.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

from schemas.wire.large_bodies import (
    BODY_BYTES_MAX,
    MissingBodyError,
    ObjectStoreError,
    digest_in,
    folder_of,
)

FRESH = timedelta(days=1)
USER = re.compile("//[^/@]*@")
SEEN_S = 3_600.0
SEEN_MAX = 10_000


@dataclass(frozen=True)
class StoredObject:
    """One object, as the store lists it."""

    key: str
    bytes: int
    at: datetime


class ObjectStore:
    """The store at a URL of fsspec, e.g. `s3://bucket/weir`, or in a folder. Safe for threads.
    `name` is the URL without credentials; `fresh` is how long an object is not written again.
    """

    def __init__(self, url: str, fresh: timedelta = FRESH):
        self._url = url
        self.name = USER.sub("//…@", url)
        self._fresh = fresh
        self._seen: dict[str, float] = {}

    @cached_property
    def _root(self) -> tuple[Any, str]:
        """The file system and the root in it. Imported when it is first needed, so that a worker
        starts faster.
        """
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self._url)
        except (ImportError, ValueError) as error:
            raise ObjectStoreError(
                f"WEIR_OBJECTS {self.name!r} cannot be used: {error}. Give a folder, or install "
                "what fsspec "
                "needs for it"
            ) from error
        return system, root.rstrip("/")

    def put(self, key: str, data: bytes) -> None:
        """Returns when the object is stored. Raises ObjectStoreError."""
        if time.monotonic() - self._seen.get(key, -SEEN_S) < SEEN_S:
            return
        system, root = self._root
        path = f"{root}/{key}"
        try:
            if not self._is_fresh(path, len(data)):
                self._write(system, path, data)
        except Exception as error:  # each store raises its own kinds
            raise self._away(error) from error
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen[key] = time.monotonic()

    def get(self, key: str, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """The content of an object. Raises MissingBodyError where it is gone, changed or larger
        than `bytes_max`, and ObjectStoreError.
        """
        system, root = self._root
        try:
            data = (
                system.cat_file(f"{root}/{key}", start=0, end=bytes_max + 1)
                if _is_key(key)
                else b""
            )
        except (FileNotFoundError, IsADirectoryError) as error:
            raise MissingBodyError(f"there is no object {key}") from error
        except Exception as error:
            raise self._away(error) from error
        if hashlib.sha256(data).hexdigest() != digest_in(key):
            raise MissingBodyError(
                f"{key} is not what was put there, or has more than {bytes_max:,} bytes"
            )
        return data

    def list_objects(self, tenant: str = "") -> Iterator[StoredObject]:
        """All objects, or one tenant's. Raises ObjectStoreError."""
        system, root = self._root
        try:
            system.invalidate_cache()
            found = system.find(f"{root}/{folder_of(tenant)}" if tenant else root, detail=True)
            for path, about in sorted(found.items()):
                yield StoredObject(
                    path.removeprefix(f"{root}/"), about["size"], system.modified(path)
                )
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._away(error) from error

    def remove(self, found: list[StoredObject]) -> None:
        """Removes objects; one that is gone already is no error. Raises ObjectStoreError."""
        system, root = self._root
        self._seen.clear()
        for one in found:
            try:
                system.rm_file(f"{root}/{one.key}")
            except FileNotFoundError:
                continue
            except Exception as error:
                raise self._away(error) from error

    def _is_fresh(self, path: str, size: int) -> bool:
        system, _ = self._root
        try:
            return (
                system.size(path) == size
                and datetime.now(UTC) - system.modified(path) < self._fresh
            )
        except FileNotFoundError:
            return False

    @staticmethod
    def _write(system: Any, path: str, data: bytes) -> None:
        """Writes a whole object or nothing: an object store does so by itself, a folder needs a
        rename.
        """
        if "file" not in system.protocol:
            system.pipe_file(path, data)
            return
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        beside = f"{path}.{uuid4().hex}"
        system.pipe_file(beside, data)
        system.mv(beside, path)

    def _away(self, error: Exception) -> ObjectStoreError:
        if isinstance(error, ObjectStoreError):
            return error
        return ObjectStoreError(
            f"the object store {self.name} cannot be asked ({type(error).__name__}: {error}): see "
            "WEIR_OBJECTS, and that the place is there and may be written"
        )


def _is_key(key: str) -> bool:
    return not key.startswith("/") and ".." not in PurePosixPath(key).parts
