"""What an export is made of (spec operations.md §4).

In the destination, below the operation's id::

    results/{study}/{series}/{instance}.dcm   the files
    errors.log       a JSON object a line: what could not be exported, and why
    manifest.jsonl   a JSON object a line: each file, its size and its SHA-256

The checkpoint of the operation::

    batch    number of the batch that is copied next; each file is marked with that of its own
    plan     what the batch has: files, and identifiers that nothing was found for
    cursor   where the plan after it begins (``shared.export.planning``)
    ended    nothing comes after this plan
    logs     bytes that are in each log from the batches before
    stream   the destination does not take copies from our store: files pass through here
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from shared.ports import Json, JsonObject

EXPORT = "export"
ERRORS = "errors.log"
MANIFEST = "manifest.jsonl"


class Credential(StrEnum):
    """With what a destination is entered."""

    SAS = "sas"
    IDENTITY = "identity"
    EMULATOR = "emulator"


@dataclass(frozen=True, slots=True)
class Target:
    """A container that files are to go to.

    Parameters
    ----------
    address : str
        Of the container, without query and trailing slash.
    credential : Credential
        With what it is entered.
    sas : str
        The shared access signature, a query string without ``?``; empty with another credential.
    private : bool
        The operator's settings name the host in full, so it may have a private address.
    """

    address: str
    credential: Credential
    sas: str = field(default="", repr=False)
    private: bool = False

    @property
    def account_address(self) -> str:
        """Address of the account's blob service."""
        return self.address.rpartition("/")[0]

    @property
    def container(self) -> str:
        """Name of the container."""
        return self.address.rpartition("/")[2]

    def __str__(self) -> str:
        parts = urlsplit(self.account_address)
        account = parts.path.strip("/") or (parts.hostname or "").partition(".")[0]
        return f"container {self.container} of account {account}"


@dataclass(frozen=True, slots=True)
class File:
    """A stored file that is to be exported: its key, bytes, and SHA-256 in hexadecimal."""

    blob: str
    size: int
    sha256: str

    @staticmethod
    def from_json(body: JsonObject) -> File:
        """From a plan or an instance document."""
        return File(body["blob"], body["size"], body["sha256"])

    def to_json(self) -> JsonObject:
        """For a plan."""
        return {"blob": self.blob, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Missing:
    """An identifier that nothing was found for, as the caller wrote it."""

    identifier: str

    def to_json(self) -> JsonObject:
        """For a plan."""
        return {"missing": self.identifier}


@dataclass(frozen=True, slots=True)
class Progress:
    """The checkpoint; see the module."""

    batch: int = 0
    plan: tuple[JsonObject, ...] = ()
    cursor: Json = None
    ended: bool = False
    logs: dict[str, int] = field(default_factory=lambda: {ERRORS: 0, MANIFEST: 0})
    stream: bool = False

    @staticmethod
    def from_json(body: JsonObject) -> Progress:
        """From a checkpoint; an empty one is the beginning."""
        return Progress(**{**body, "plan": tuple(body["plan"])}) if body else Progress()

    def to_json(self) -> JsonObject:
        """For a checkpoint."""
        return {
            "batch": self.batch,
            "plan": list(self.plan),
            "cursor": self.cursor,
            "ended": self.ended,
            "logs": self.logs,
            "stream": self.stream,
        }
