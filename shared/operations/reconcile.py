"""Compare the files with the index, and take in what the index lacks (architecture §1, §6).

On an empty index this makes the index anew from the files alone. Nothing is ever deleted for
being in doubt: an older version of an instance beside the newest may be one that was replaced
or deleted, and is counted only.

Files are looked at study by study, and a study's in the order of their versions, which is the
order in which they were stored: so the same values win as did then.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from shared.index import shapes
from shared.index.partitions import Partitions
from shared.index.schema import INDEX
from shared.index.shapes import parse_blob_key
from shared.operations.models import Status, Step, Work
from shared.ports import BlobInfo, Blobs, Documents, JsonObject
from shared.store.complete import Completer, Completion
from shared.where import Eq, In, Order, Where

RECONCILE = "reconcile"

_STEP_S = 30.0
_PAGE = 200
_MOST_NAMED = 100
_VERSIONS = ["id", "version", shapes.ORIGINAL_VERSION]
_NEWEST_FIRST = (Order(("version",), descending=True), Order(("id",)))
_COUNT_OF = {
    Completion.COMPLETED: "repaired",
    Completion.REMOVED: "refused",
    Completion.TOO_YOUNG: "later",
}


class Reconciler:
    """The operation ``reconcile`` of one tenant. Input: ``repair``, or only report."""

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        partitions: Partitions,
        completer: Completer,
        step_s: float = _STEP_S,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._partitions = partitions
        self._completer = completer
        self._step_s = step_s

    async def step(self, work: Work) -> Step:
        """Look at files for half a minute, or at a page of the index once all files are done."""
        if "after" in work.checkpoint:
            return await self._look_at_index(work)
        return await self._look_at_files(work)

    async def end(self, work: Work, status: Status) -> None:
        """Nothing to put away."""

    # From the files to the index ------------------------------------------------------------

    async def _look_at_files(self, work: Work) -> Step:
        began, looked = time.monotonic(), False
        counts = Counter(work.results)
        done = work.checkpoint.get("study", "")
        async with aclosing(self._studies(done, work.checkpoint.get("marker", ""))) as studies:
            async for study, files, marker in studies:
                if looked and time.monotonic() - began > self._step_s:
                    return Step({"study": done, "marker": marker}, dict(counts))
                counts.update(await self._look_at_study(files, repair=work.input["repair"]))
                done, looked = study, True
        return Step({"after": None}, dict(counts))

    async def _studies(
        self, done: str, marker: str
    ) -> AsyncGenerator[tuple[str, list[BlobInfo], str], None]:
        """The files of each study behind ``done``, a folder, in order of the folders.

        With each study comes the marker of the page of the listing that it begins in.
        """
        folder, files, begins = "", list[BlobInfo](), marker
        async for page in self._blobs.pages(shapes.INSTANCES, marker):
            for blob in page.blobs:
                if parse_blob_key(blob.key) is None:
                    continue
                of = blob.key.rsplit("/", 3)[0] + "/"
                if of != folder:
                    if files:
                        yield folder, files, begins
                    folder, files, begins = of, [], page.marker
                if of > done:
                    files.append(blob)
        if files:
            yield folder, files, begins

    async def _look_at_study(self, files: list[BlobInfo], *, repair: bool) -> Counter[str]:
        counts: Counter[str] = Counter(files=len(files))
        parsed = [found for found in (parse_blob_key(blob.key) for blob in files) if found]
        partition = parsed[0][0].partition
        pk = parsed[0][0].pk
        known = await self._known(pk)
        deleted = await self._deleted(pk)
        missing: dict[str, tuple[str, str]] = {}
        for key, version in sorted(parsed, key=lambda each: each[1]):
            stored = known.get(key.document_id)
            if version in deleted or (stored is not None and version in stored):
                continue
            if stored is not None or key.document_id in missing:
                counts["leftOver"] += 1
            if stored is None:
                missing[key.document_id] = version, key.blob(version)
        counts["notIndexed"] += len(missing)
        if repair and missing:
            await self._partitions.resolve(partition, create=True)
            for _, blob in sorted(missing.values()):
                outcome = await self._completer.complete(blob)
                if outcome in _COUNT_OF:
                    counts[_COUNT_OF[outcome]] += 1
        return counts

    async def _known(self, pk: str) -> dict[str, list[str]]:
        """The versions of each instance that the index has: that of now, and the original."""
        found: dict[str, list[str]] = {}
        after: list[str] | None = None
        while True:
            page = await self._page(Eq(("type",), shapes.INSTANCE), after, pk, _VERSIONS)
            found |= {body["id"]: shapes.versions_of(body) for body in page}
            if len(page) < _PAGE:
                return found
            after = [page[-1]["version"], page[-1]["id"]]

    async def _deleted(self, pk: str) -> set[str]:
        """Versions whose files stay until their retention time is over, or are being prepared."""
        found: set[str] = set()
        after: list[str] | None = None
        while True:
            where = In(("type",), (shapes.TOMBSTONE, shapes.PREPARED))
            page = await self._page(where, after, pk, ["id", "version", "versions"])
            found.update(*(body["versions"] for body in page))
            if len(page) < _PAGE:
                return found
            after = [page[-1]["version"], page[-1]["id"]]

    # From the index to the files ------------------------------------------------------------

    async def _look_at_index(self, work: Work) -> Step:
        """Whether each instance of the index has its file. What is lost can only be reported."""
        results = dict(work.results)
        page = await self._page(
            Eq(("type",), shapes.INSTANCE),
            work.checkpoint["after"],
            None,
            ["id", "version", "pk", "blob"],
        )
        for body in page:
            results["indexed"] = results.get("indexed", 0) + 1
            if await self._blobs.info(body["blob"]) is None and await self._still(body):
                results["filesMissing"] = results.get("filesMissing", 0) + 1
                named = results.get("missing", [])
                results["missing"] = [*named, body["blob"]][:_MOST_NAMED]
        if len(page) < _PAGE:
            return Step(work.checkpoint, results, 100, done=True)
        return Step({"after": [page[-1]["version"], page[-1]["id"]]}, results)

    async def _still(self, body: JsonObject) -> bool:
        """Whether the index still says so; it may have been deleted since the page was read."""
        document = await self._documents.get(INDEX.name, body["pk"], body["id"])
        return document is not None and document.body["version"] == body["version"]

    async def _page(
        self, where: Where, after: list[str] | None, pk: str | None, members: list[str]
    ) -> list[JsonObject]:
        return await self._documents.query(
            INDEX.name,
            where,
            order=_NEWEST_FIRST,
            limit=_PAGE,
            after=after,
            partition=pk,
            members=members,
        )
