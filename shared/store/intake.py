"""Take in one instance: read it as it arrives, judge it, and write its file.

The file is written while it is read, under a name that no other file has. It appears in the blob
store only after the last byte was read, the data set was found complete and the rules were met:
what is refused never appears.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from shared.config import Limits
from shared.dicom import transfer_syntax, uid
from shared.dicom.attributes import INDEXED_ATTRIBUTES, VALIDATED
from shared.dicom.instance import Identifiers, InstanceFacts
from shared.dicom.reader import InstanceReader
from shared.dicom.validation import StoreValidation, Verdict
from shared.errors import InstanceRefused, NotDicom, PayloadTooLarge
from shared.index.shapes import InstanceKey
from shared.ports import Blobs, Ids, StoredBlob
from shared.store.models import WARNING_IMPLICIT_VR, WARNING_VALIDATION, Refused
from shared.tags.models import NO_TAGS, TagList

SMALL_BYTES = 4 * 1024 * 1024
"""An instance up to this size is read whole before it is written, in one request."""

_MOST_BEFORE_IDENTIFIERS = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the instances of a request go.

    Parameters
    ----------
    partition : str
        Data partition, as first spelled.
    study : str or None
        The study that the request is for, if it is for one.
    major : int
        Version of the API, which says what the rules are.
    resources_url : str
        Absolute address of the partition's resources, for ``BulkDataURI``.
    upsert : bool
        An instance that is stored already is replaced.
    expires_after : timedelta or None
        When the studies expire, counted from now; ``None``: they do not.
    """

    partition: str
    study: str | None
    major: int
    resources_url: str
    upsert: bool = False
    expires_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """An instance whose file is written, and which is not in the index yet.

    ``tags`` are the extended query tags by which it was read.
    """

    key: InstanceKey
    version: str
    facts: InstanceFacts
    verdict: Verdict
    stored: StoredBlob
    tags: TagList = NO_TAGS

    @property
    def blob(self) -> str:
        """Key of its file."""
        return self.key.blob(self.version)

    @property
    def warning(self) -> int | None:
        """WarningReason, if there is one."""
        if transfer_syntax.is_implicit(self.facts.transfer_syntax_uid):
            return WARNING_IMPLICIT_VR
        return WARNING_VALIDATION if self.verdict.warnings else None


class RefusedByRules(InstanceRefused):
    """The instance breaks the rules of a store; ``row`` tells the client how."""

    def __init__(self, row: Refused) -> None:
        super().__init__(row.reason, "the instance breaks the rules of a store")
        self.row = row


class Intake:
    """Reads and writes one instance.

    Parameters
    ----------
    content : AsyncIterator[bytes]
        The file, in pieces.
    destination : Destination
        Where it goes.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        destination: Destination,
        *,
        blobs: Blobs,
        ids: Ids,
        limits: Limits,
        tags: TagList = NO_TAGS,
    ) -> None:
        self._content = content
        self._tags = tags
        self._destination = destination
        self._blobs = blobs
        self._limits = limits
        self._checker = StoreValidation(destination.major, {**VALIDATED, **tags.checked})
        self._reader = InstanceReader(
            limits=limits,
            wanted=INDEXED_ATTRIBUTES | tags.wanted,
            checker=self._checker,
            bulk_data_uri=bulk_data_uri(destination.resources_url),
        )
        self._size = 0
        self.version = ids.version()
        self.key: InstanceKey | None = None

    @property
    def identifiers(self) -> Identifiers | None:
        """The UIDs, as soon as they are read."""
        return self._reader.identifiers

    async def receive(self) -> Callable[[], Awaitable[Received]]:
        """Read the instance; what it returns writes what is not written yet.

        A small instance is then read to its end and only its file remains to be written, which
        the caller may let run while it goes on to the next one. A large one is written already.

        Raises
        ------
        NotDicom
            It is no complete DICOM file, or breaks a limit for one.
        RefusedByRules
            It breaks the rules of a store.
        PayloadTooLarge
            It is larger than an instance may be.
        """
        head: list[bytes] = []
        refused = False
        async for piece in self._content:
            self._take(piece)
            if refused:
                continue  # read on only to say why
            head.append(piece)
            if self._size <= SMALL_BYTES:
                continue
            if self._nameable():
                received = await self._write_streaming(head)
                return _already(received)
            if self._size > _MOST_BEFORE_IDENTIFIERS or self._reader.identifiers is not None:
                head.clear()
                refused = True
        facts, verdict = self._judge()
        if refused:
            raise NotDicom(
                f"The UIDs of the instance must be within its first {_MOST_BEFORE_IDENTIFIERS} "
                "bytes."
            )
        data = b"".join(head)

        async def write() -> Received:
            return await self._write(_one(data), lambda: (facts, verdict))

        return write

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limits.instance_bytes:
            raise PayloadTooLarge(
                f"An instance may have at most {self._limits.instance_bytes} bytes."
            )
        self._reader.feed(piece)

    def _nameable(self) -> bool:
        """Whether the UIDs are known and good enough to name a file by them."""
        found = self._reader.identifiers
        if found is None:
            return False
        study = self._destination.study
        return all(
            map(
                _is_good,
                (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid),
            )
        ) and (study is None or uid.normalised(found.study_instance_uid or "") == study)

    def _judge(self) -> tuple[InstanceFacts, Verdict]:
        """The facts, if the instance is complete and meets the rules."""
        facts = self._reader.finish()
        verdict = self._checker.finish(facts.identifiers, self._destination.study)
        if verdict.failure is not None:
            row = Refused(verdict.failure, facts.identifiers, verdict.comments)
            raise RefusedByRules(row)
        return facts, verdict

    async def _write_streaming(self, head: list[bytes]) -> Received:
        outcome: list[tuple[InstanceFacts, Verdict]] = []

        async def chunks() -> AsyncIterator[bytes]:
            while head:
                yield head.pop(0)
            async for piece in self._content:
                self._take(piece)
                yield piece
            outcome.append(self._judge())  # what this raises keeps the file from appearing

        return await self._write(chunks(), lambda: outcome[0])

    async def _write(
        self,
        chunks: AsyncIterator[bytes],
        outcome: Callable[[], tuple[InstanceFacts, Verdict]],
    ) -> Received:
        self.key = key_of(self._reader.identifiers, self._destination.partition)
        stored = await self._blobs.put(self.key.blob(self.version), chunks)
        facts, verdict = outcome()
        return Received(self.key, self.version, facts, verdict, stored, self._tags)


def key_of(identifiers: Identifiers | None, partition: str) -> InstanceKey:
    """The identity that the UIDs give.

    Raises
    ------
    NotDicom
        A UID is missing.
    """
    if identifiers is None or not (
        identifiers.study_instance_uid
        and identifiers.series_instance_uid
        and identifiers.sop_instance_uid
    ):
        raise NotDicom("The data set lacks a UID that identifies it.")
    return InstanceKey(
        partition,
        uid.normalised(identifiers.study_instance_uid),
        uid.normalised(identifiers.series_instance_uid),
        uid.normalised(identifiers.sop_instance_uid),
    )


def bulk_data_uri(resources_url: str) -> Callable[[Identifiers, str], str]:
    """How the bulk data of an instance is addressed, below ``resources_url``."""

    def address(identifiers: Identifiers, path: str) -> str:
        study, series, instance = (
            uid.normalised(text or "")
            for text in (
                identifiers.study_instance_uid,
                identifiers.series_instance_uid,
                identifiers.sop_instance_uid,
            )
        )
        return (
            f"{resources_url}/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}"
        )

    return address


def _is_good(text: str | None) -> bool:
    return text is not None and uid.is_valid(text)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _already(received: Received) -> Callable[[], Awaitable[Received]]:
    async def result() -> Received:
        return received

    return result
