"""The operation ``update``: other attributes in all instances of studies, one study after another.

Of a study first every new file is written, and only when all are there do they take their places,
in atomic batches of the commit protocol: so what fails leaves the study as it was. From the first
batch on nothing can fail for good, and whoever goes on finishes it; a study of up to 25 instances
changes in one batch.

References
----------
Spec operations.md §3.3, §3.4.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from shared.auth.audit import record_operation
from shared.config import Limits
from shared.dicom.instance import InstanceFacts
from shared.dicom.text import UnfitText
from shared.dicom.validation import Verdict
from shared.errors import (
    AlreadyStored,
    BlobNotFound,
    CorruptData,
    InstanceRefused,
    OperationRefused,
    Refusal,
    Unavailable,
)
from shared.index import shapes
from shared.index.metadata import ChunkPlace, chunk_texts
from shared.index.schema import INDEX
from shared.operations.models import Status, Step, Work
from shared.ports import Blobs, Create, Documents, Ids, JsonObject, Replace, SameBytes
from shared.store.complete import Reading, read_back
from shared.store.intake import Received
from shared.store.segments import place
from shared.tags.indexing import TagIndexer
from shared.update.changes import Change, read_changes
from shared.update.prepared import DONE, DROPPED, READY, PreparedVersions, prepared_id, reservation
from shared.update.rewrite import rewritten
from shared.where import And, Eq, Order

UPDATE: Final = "update"

_AUDIT: Final = "update-study-operation"

_STEP_S: Final = 20.0
_AT_ONCE: Final = 4
_PAGE: Final = 50
_MOST_ERRORS: Final = 5
_MOST_ATTEMPTS: Final = 10
_FORWARD: Final = (Order(("series",)), Order(("version",)))
_PREPARE, _COMMIT, _CLEAR = "prepare", "commit", "clear"
_NOTHING: Final = {
    "studyProcessed": 0, "studyUpdated": 0, "studyFailed": 0, "instanceUpdated": 0,
}  # fmt: skip


class _Failed(Exception):
    """A new version cannot be made of an instance, however often that is tried."""

    def __init__(self, reason: str, body: JsonObject) -> None:
        super().__init__(reason)
        self.reason = reason
        self.body = body


class _Turn:
    """For how long a step begins files: some in any case, more until its time is over."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._begun = 0

    def is_over(self) -> bool:
        return time.monotonic() > self._until

    def begins_another(self) -> bool:
        self._begun += 1
        return self._begun <= _AT_ONCE or not self.is_over()


class Updater:
    """The operation of one tenant.

    Input: ``partition`` as first spelled, ``studies``, ``changes`` of ``shared.update.changes``,
    and ``resourcesUrl``, below which metadata addresses bulk data.
    """

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        prepared: PreparedVersions,
        indexer: TagIndexer,
        *,
        ids: Ids,
        limits: Limits,
        tenant: str,
        step_s: float = _STEP_S,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._prepared = prepared
        self._indexer = indexer
        self._ids = ids
        self._limits = limits
        self._tenant = tenant
        self._step_s = step_s

    async def step(self, work: Work) -> Step:
        """Go on with the study that the checkpoint names."""
        at = work.checkpoint.get("study", 0)
        if not work.checkpoint:
            record_operation(_AUDIT, self._resource(work))
        results = {**_NOTHING, **work.results}
        studies = work.input["studies"]
        if at == len(studies):
            failed = "Not all studies could be updated." if results["studyFailed"] else None
            return Step(work.checkpoint, results, 100, done=True, failed=failed)
        pk = shapes.partition_key(work.input["partition"], studies[at])
        phase = work.checkpoint.get("phase", _PREPARE)
        if phase == _PREPARE:
            after = await self._prepare(work, pk)
        elif phase == _COMMIT:
            after = await self._commit(work, pk)
        else:
            await self._prepared.clear(work.id, pk)
            after = {"study": at + 1}, {}
        checkpoint, counted = after
        for name, value in counted.items():
            results[name] = results.get(name, type(value)()) + value
        return Step({"study": at, **checkpoint}, results, _percent(checkpoint, at, len(studies)))

    async def end(self, work: Work, status: Status) -> None:
        """Finish or put away the study that was under way."""
        await self._put_away(work)
        code = 200 if status is Status.SUCCEEDED else 400
        record_operation(_AUDIT, self._resource(work), code)

    def _resource(self, work: Work) -> dict[str, str]:
        return {
            "tenant": self._tenant, "partition": work.input["partition"], "operation": work.id,
        }  # fmt: skip

    async def _put_away(self, work: Work) -> None:
        at = work.checkpoint.get("study", 0)
        if at == len(work.input["studies"]):
            return
        pk = shapes.partition_key(work.input["partition"], work.input["studies"][at])
        if work.checkpoint.get("phase") == _COMMIT:
            while await self._prepared.commit_some(work.id, pk):
                pass
        await self._prepared.clear(work.id, pk)

    # New files ----------------------------------------------------------------------------

    async def _prepare(self, work: Work, pk: str) -> tuple[JsonObject, JsonObject]:
        """Write new versions for a while; what comes next, and what is to be counted."""
        turn = _Turn(self._step_s)
        after = work.checkpoint.get("after")
        changes = read_changes(work.input["changes"])
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(body: JsonObject) -> _Failed | bool:
            async with slots:
                try:
                    return await self._prepare_one(work, pk, body, changes, turn)
                except _Failed as failed:
                    return failed

        while True:
            page = await self._page(pk, after)
            outcomes = await asyncio.gather(*(one(body) for body in page), return_exceptions=True)
            if failures := _failures(outcomes):
                return {"phase": _CLEAR}, _failure(work, failures)
            if not all(outcomes):  # files may be large: the rest of the page is for the next step
                return {"phase": _PREPARE, "after": after}, {}
            if len(page) < _PAGE:
                return {"phase": _COMMIT}, {}
            after = [page[-1]["series"], page[-1]["version"]]
            if turn.is_over():
                return {"phase": _PREPARE, "after": after}, {}

    async def _page(self, pk: str, after: list[str] | None) -> list[JsonObject]:
        return await self._documents.query(
            INDEX.name,
            And((Eq(("type",), shapes.INSTANCE),)),
            order=_FORWARD,
            limit=_PAGE,
            after=after,
            partition=pk,
            members=[
                "study", "series", "instance", "version", "blob", "metadata",
                "transferSyntax", shapes.ORIGINAL_VERSION,
            ],
        )  # fmt: skip

    async def _prepare_one(
        self, work: Work, pk: str, body: JsonObject, changes: Mapping[int, Change], turn: _Turn
    ) -> bool:
        """Have a new version of an instance ready; ``False`` if the turn is over before."""
        version = self._ids.version()  # before the first await: in the order of retrieval
        document_id = prepared_id(work.id, body)
        key = shapes.instance_key(body, work.input["partition"])
        for _ in range(_MOST_ATTEMPTS):
            found = await self._documents.get(INDEX.name, pk, document_id)
            if found is None:
                new = reservation(work.id, key, body["version"], version)
                if await self._written(pk, Create(new)):
                    continue
                raise Unavailable
            if found.body["state"] in (DONE, DROPPED):
                return True
            if found.body["base"] != body["version"]:  # replaced since: begin anew
                new = reservation(work.id, key, body["version"], version)
                if await self._written(pk, Replace(new, found.etag)):
                    await self._blobs.delete(key.blob(found.body["version"]))
                continue
            if found.body["state"] == READY:
                return True
            if not turn.begins_another():
                return False
            received = await self._write(work, body, key, found.body["version"], changes)
            [new_], _ = await place(
                [received], work.input["resourcesUrl"], blobs=self._blobs, ids=self._ids
            )
            ready = {
                "state": READY,
                "attributes": new_.attributes,
                "details": new_.details,
                "tags": received.tags.last,
            }
            if await self._written(pk, Replace({**found.body, **ready}, found.etag)):
                return True
        raise Unavailable

    async def _written(self, pk: str, operation: Create | Replace) -> bool:
        try:
            await self._documents.commit(INDEX.name, pk, [operation])
        except OperationRefused as refused:
            return refused.refusal is Refusal.EXISTS
        return True

    async def _write(
        self,
        work: Work,
        body: JsonObject,
        key: shapes.InstanceKey,
        version: str,
        changes: Mapping[int, Change],
    ) -> Received:
        """Write the file of a new version, or read the one that an earlier attempt wrote."""
        url = work.input["resourcesUrl"]
        marks = {shapes.ORIGINAL: str(body.get(shapes.ORIGINAL_VERSION) or body["version"])}
        to_utf_8 = False
        tags = await self._indexer.registry.known()
        while True:
            reading = Reading(key, version, url, self._limits, tags)
            found: list[tuple[InstanceFacts, Verdict]] = []
            try:
                content = await self._blobs.read(body["blob"])
                same = SameBytes(body["blob"])
                new = rewritten(content, changes, to_utf_8=to_utf_8, same=same)
                stored = await self._blobs.put(
                    key.blob(version), _read_by(reading, new, found), marks, same
                )
            except AlreadyStored:
                return await read_back(
                    self._blobs, key, version, url, limits=self._limits, tags=tags
                )
            except UnfitText:
                if to_utf_8 or not await self._is_ascii(body):
                    raise _Failed(
                        "A value cannot be written in the character set of the file.", body
                    ) from None
                to_utf_8 = True
            except BlobNotFound:
                raise _Failed("The file is not there.", body) from None
            except (CorruptData, InstanceRefused) as error:
                raise _Failed("The file cannot be rewritten: it is malformed.", body) from error
            else:
                facts, verdict = found[0]
                return Received(key, version, facts, verdict, stored, tags)

    async def _is_ascii(self, body: JsonObject) -> bool:
        """Whether all text of an instance is ASCII, which is UTF-8 as well."""
        chunk = ChunkPlace.from_json(body["metadata"])
        texts = chunk_texts(self._blobs, [chunk], chunk.base)
        return all([text.isascii() async for text in texts])

    # Into their places --------------------------------------------------------------------

    async def _commit(self, work: Work, pk: str) -> tuple[JsonObject, JsonObject]:
        began = time.monotonic()
        while await self._prepared.commit_some(work.id, pk):
            if time.monotonic() - began > self._step_s:
                return {"phase": _COMMIT}, {}
        updated = await self._prepared.count(work.id, pk, DONE)
        counted = {
            "studyProcessed": 1,
            "studyUpdated": min(updated, 1),
            "instanceUpdated": updated,
        }
        return {"phase": _CLEAR}, counted


async def _read_by(
    reading: Reading, content: AsyncIterator[bytes], found: list[tuple[InstanceFacts, Verdict]]
) -> AsyncIterator[bytes]:
    """The pieces of a file as they pass; it does not appear if it breaks the rules of a store."""
    async for piece in content:
        if piece:
            reading.feed(piece)
            yield piece
    found.append(reading.finish())


def _failures(outcomes: Sequence[bool | BaseException]) -> list[_Failed]:
    """Those that are for good; any other one is raised, for another attempt."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, _Failed):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, _Failed)]


def _failure(work: Work, failures: list[_Failed]) -> JsonObject:
    partition, study = work.input["partition"], failures[0].body["study"]
    lines = [f"Study {study} in partition {partition} could not be updated."]
    lines += [
        f"{failed.reason} Partition: {partition}, StudyInstanceUID: {study}, "
        f"SeriesInstanceUID: {failed.body['series']}, SOPInstanceUID: {failed.body['instance']}"
        for failed in failures[:_MOST_ERRORS]
    ]
    if len(failures) > _MOST_ERRORS:
        lines.append(f"{len(failures) - _MOST_ERRORS} more instances of it failed: see the log.")
    return {"studyProcessed": 1, "studyFailed": 1, "errors": lines}


def _percent(checkpoint: JsonObject, at: int, count: int) -> int:
    return 100 * int(checkpoint.get("study", at)) // count
