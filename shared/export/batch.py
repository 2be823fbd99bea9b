"""One batch of an export: each of its files is written once, and noted once.

The plan was written down before the first file of it was written, so each attempt has the same.
An attempt that died has left files, marked with the batch, and perhaps lines in the logs: behind
the position that the checkpoint knows, where only attempts of this batch can have written. What
is in a log is done; what is a file only is noted now.

A file that is there from an earlier batch was named twice: it stays as it is, and counts again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.errors import (
    AlreadyStored,
    BlobNotFound,
    CorruptData,
    DestinationTrouble,
    NotFound,
    ServiceTrouble,
)
from shared.export.models import ERRORS, MANIFEST, File, Progress
from shared.export.ports import Copied, Destination, Links
from shared.index.documents import iso
from shared.index.schema import INDEX
from shared.index.shapes import InstanceKey, parse_blob_key
from shared.ports import Blobs, Clock, Documents, JsonObject
from shared.retrieve.content import close

_MOST_COPIED = 256 * 1024 * 1024  # bytes of a file that a store copies by one request
_BEGIN_FOR_S = 90.0  # of the five minutes that a worker holds an operation
_PAUSES_S = (1.0, 5.0)
_PATIENCE_S = 60.0  # a store that says nothing at all is waited for as long for each request
_BATCH, _SHA256, _SIZE = "dicom_batch", "dicom_sha256", "dicom_size"
_NOT_THERE = "It is not there."
_GONE = "It was deleted before it could be exported."


class _SourceTrouble(Exception):
    """Our own store does not answer; the error is the cause."""


@dataclass(frozen=True, slots=True)
class Copier:
    """What batches of one tenant work with. ``at_once`` files are under way at a time."""

    documents: Documents
    blobs: Blobs
    links: Links
    clock: Clock
    at_once: int


@dataclass(slots=True)
class Batch:
    """One attempt at a batch.

    Parameters
    ----------
    copier : Copier
        What it works with.
    destination : Destination
        Where to.
    id : str
        Of the operation, the folder of all its files.
    progress : Progress
        Where the operation stands.
    """

    copier: Copier
    destination: Destination
    id: str
    progress: Progress
    exported: int = 0
    skipped: int = 0
    _lines: dict[str, list[JsonObject]] = field(default_factory=lambda: {ERRORS: [], MANIFEST: []})
    _left: list[JsonObject] = field(default_factory=list)
    _stream: bool = False

    async def run(self) -> Progress:
        """Do what is left of the batch, for a while. What then still is left stays in the plan.

        Raises
        ------
        DestinationUnusable
            Nothing can be written there (any more).
        ServiceTrouble
            A store does not answer: the batch has to be tried again.
        """
        self._stream = self.progress.stream
        tails = {name: await self._tail(name) for name in (MANIFEST, ERRORS)}
        noted = self._noted(tails)
        await self._work([entry for entry in self.progress.plan if not noted & set(_names(entry))])
        logs = {name: await self._note(name, tails[name]) for name in (MANIFEST, ERRORS)}
        return replace(
            self.progress,
            batch=self.progress.batch + (0 if self._left else 1),
            plan=tuple(self._left),
            logs=logs,
            stream=self._stream,
        )

    # What an attempt that died has noted -----------------------------------------------------

    async def _tail(self, name: str) -> bytes:
        return await self.destination.log_after(f"{self.id}/{name}", self.progress.logs[name])

    def _noted(self, tails: Mapping[str, bytes]) -> set[str]:
        files = {json.loads(line)["file"] for line in tails[MANIFEST].splitlines()}
        errors = {json.loads(line)["identifier"] for line in tails[ERRORS].splitlines()}
        for entry in self.progress.plan:
            names = set(_names(entry))
            if names & files:
                self.exported += 1
            elif names & errors:
                self.skipped += 1
        return files | errors

    async def _note(self, name: str, tail: bytes) -> int:
        """Add this attempt's lines to a log. The length of the log."""
        lines = b"".join(
            json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in self._lines[name]
        )
        position = self.progress.logs[name] + len(tail)
        if lines:
            await self.destination.append(f"{self.id}/{name}", position, lines)
        return position + len(lines)

    # Files ----------------------------------------------------------------------------------

    async def _work(self, entries: Sequence[JsonObject]) -> None:
        """Export entries, some at a time; what is named twice, once."""
        began = time.monotonic()
        by_name: dict[str, list[JsonObject]] = {}
        for entry in entries:
            by_name.setdefault(_names(entry)[0], []).append(entry)
        queue = list(reversed(by_name.values()))

        async def worker() -> None:
            while queue:
                same = queue.pop()
                if time.monotonic() - began > _BEGIN_FOR_S:
                    self._left += same
                else:
                    await self._one(same[0], len(same))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.copier.at_once, len(queue))):
                    group.create_task(worker())
        except ExceptionGroup as group_of_one:
            raise _told(group_of_one) from None

    async def _one(self, entry: JsonObject, times: int) -> None:
        if "missing" in entry:
            self._skip(entry["missing"], _NOT_THERE, times)
            return
        file = File.from_json(entry)
        key = _key(file)
        try:
            line = await self._with_patience(key, file)
        except NotFound:
            self._skip(_identifier(key), _GONE, times)
        except (CorruptData, DestinationTrouble) as error:
            self._skip(_identifier(key), str(error), times)
        else:
            self.exported += times
            if line is not None:
                self._lines[MANIFEST].append(line)

    def _skip(self, identifier: str, why: str, times: int) -> None:
        now = iso(self.copier.clock.now())
        self.skipped += times
        for _ in range(times):
            self._lines[ERRORS].append({"timestamp": now, "identifier": identifier, "error": why})

    async def _with_patience(self, key: InstanceKey, file: File) -> JsonObject | None:
        """Export a file; where the destination does not take it, a few times.

        If it never does, others may still go: that the lines about this one can be written to
        its log shows that it is there.
        """
        began = time.monotonic()
        for pause in _PAUSES_S:
            try:
                return await self._export(key, file)
            except DestinationTrouble:
                if time.monotonic() - began > _PATIENCE_S:
                    raise
                await asyncio.sleep(pause)
        return await self._export(key, file)

    async def _export(self, key: InstanceKey, file: File) -> JsonObject | None:
        """Write a file. Its line; ``None`` if an earlier batch has written both."""
        name = f"{self.id}/{_path(key)}"
        try:
            try:
                return _line(key, await self._write(name, file))
            except BlobNotFound:  # replaced since the plan was made
                return _line(key, await self._write(name, await self._current(key, file)))
        except AlreadyStored:
            marks = await self.destination.marks(name) or {}
        if not marks.get(_BATCH, "").isdigit():
            raise DestinationTrouble("Another file has its name in the destination.")
        if int(marks[_BATCH]) < self.progress.batch:
            return None
        return _line(key, File("", int(marks[_SIZE]), marks[_SHA256]))

    async def _current(self, key: InstanceKey, file: File) -> File:
        found = await self.copier.documents.get(INDEX.name, key.pk, key.document_id)
        if found is None:
            raise BlobNotFound("It is deleted.")
        current = File.from_json(found.body)
        if current.blob == file.blob:
            raise CorruptData("Its file is lost.")
        return current

    async def _write(self, name: str, file: File) -> File:
        marks = {
            _BATCH: str(self.progress.batch),
            _SHA256: file.sha256,
            _SIZE: str(file.size),
        }
        if not self._stream and file.size <= _MOST_COPIED:
            link = await self.copier.links.link(file.blob)
            copied = Copied.NEVER
            if link is not None:
                copied = await self.destination.copy(name, link, marks)
            if copied is Copied.DONE:
                return file
            self._stream |= copied is Copied.NEVER
        chunks = await self._read(file)
        try:
            await self.destination.put(name, _checked(chunks, file), marks)
        finally:
            await close(chunks)
        return file

    async def _read(self, file: File) -> AsyncIterator[bytes]:
        try:
            return await self.copier.blobs.read(file.blob)
        except ServiceTrouble as error:
            raise _SourceTrouble from error


async def _checked(chunks: AsyncIterator[bytes], file: File) -> AsyncIterator[bytes]:
    """The file as it was stored, or an error before its end: so nothing else ever appears."""
    digest = hashlib.sha256()
    try:
        async for chunk in chunks:
            digest.update(chunk)
            yield chunk
    except ServiceTrouble as error:
        raise _SourceTrouble from error
    if digest.hexdigest() != file.sha256:
        raise CorruptData("Its file is not what was stored.")


def _told(group: ExceptionGroup[Exception]) -> Exception:
    """What made the workers stop: the first error, for they all stop at it."""
    error: Exception = group.exceptions[0]
    return error.__cause__ if isinstance(error.__cause__, ServiceTrouble) else error


def _key(file: File) -> InstanceKey:
    found = parse_blob_key(file.blob)
    if found is None:
        raise CorruptData("Its file has no name of an instance.")
    return found[0]


def _path(key: InstanceKey) -> str:
    return f"results/{key.study}/{key.series}/{key.instance}.dcm"


def _identifier(key: InstanceKey) -> str:
    return f"{key.study}/{key.series}/{key.instance}"


def _names(entry: JsonObject) -> list[str]:
    """What an entry of a plan is called in the logs: a path in one, an identifier in the other."""
    if "missing" in entry:
        return [str(entry["missing"])]
    key = _key(File.from_json(entry))
    return [_path(key), _identifier(key)]


def _line(key: InstanceKey, file: File) -> JsonObject:
    return {"file": _path(key), "size": file.size, "sha256": file.sha256}
