"""Bring what is stored already into the index of new extended query tags, study by study.

A study is read under the ETag of its document, which every change below it changes: so what is
written at the end is what all its instances say, and a store at the same time makes it start
again. Instances that come later bring the values themselves. Doing it twice changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Final

from shared.dicom import attributes as dicom
from shared.dicom.instance import JsonElement
from shared.errors import BlobNotFound, OperationRefused, ServiceTrouble, Unavailable
from shared.index import shapes
from shared.index.commit import Committer
from shared.index.documents import iso, series_terms, study_terms
from shared.index.metadata import ChunkPlace, chunk_texts
from shared.index.schema import INDEX
from shared.index.terms import level_terms, merge_attributes
from shared.ports import (
    Blobs,
    Clock,
    Delete,
    Documents,
    JsonObject,
    Operation,
    Patch,
    Replace,
    Upsert,
)
from shared.tags.models import ExtendedTag
from shared.tags.registry import TagRegistry
from shared.tags.values import values_of
from shared.where import And, Eq, Order, Scalar, Where

TAG_ERRORS: Final = "tagErrors"

_PAGE: Final = 50
_MOST_IN_A_BATCH: Final = 80
_MOST_PUT: Final = 10
_MOST_ATTEMPTS: Final = 20
_FORWARD: Final = (Order(("series",)), Order(("version",)))
_MEMBERS: Final = ("id", "series", "version", "metadata", "d", "q", TAG_ERRORS)

_log = logging.getLogger("dicom.tags")


class TagIndexer:
    """Indexes the stored instances of one tenant by extended query tags."""

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        committer: Committer,
        registry: TagRegistry,
        clock: Clock,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._committer = committer
        self.registry = registry
        self._clock = clock

    async def catch_up(self, pks: set[str], known: int) -> None:
        """Index studies by the tags that were added since a list whose last number is ``known``.

        For those who have committed instances by that list: a tag that is not in it may have been
        added, and its operation may have passed the study by, before they had committed. If they
        die before this, ``catch_up_behind`` does it.
        """
        now = await self.registry.read()
        missed = tuple(entry for entry in now.entries if entry.number > known)
        if missed:
            for pk in sorted(pks):
                await self.index_study(pk, missed)

    async def catch_up_behind(self) -> int:
        """Index the studies that the sequencer found behind the list. Returns how many.

        A study that cannot be indexed now stays behind, and keeps no other from it.
        """
        done = 0
        after: list[str] | None = None
        while True:
            page = await self._documents.query(
                INDEX.name,
                Eq(("type",), shapes.BEHIND),
                order=[Order(("version",))],
                limit=_PAGE,
                after=after,
            )
            by_study: dict[str, list[JsonObject]] = {}
            for body in page:
                by_study.setdefault(body["pk"], []).append(body)
            for pk, bodies in by_study.items():
                try:
                    await self.catch_up({pk}, min(body["tags"] for body in bodies))
                    gone = [Delete(body["id"]) for body in bodies]
                    await self._documents.commit(INDEX.name, pk, gone)
                except (OperationRefused, ServiceTrouble) as error:  # refused: another was faster
                    extra = {"cause": type(error).__name__}
                    _log.warning("a study stays behind its tags for now", extra=extra)
                else:
                    done += 1
            if len(page) < _PAGE:
                return done
            after = [page[-1]["version"]]

    async def index_study(self, pk: str, entries: Sequence[ExtendedTag]) -> None:
        """Index a study by some tags.

        Raises
        ------
        Throttled, Unavailable
            A store does not take it, or others write into the study all the time.
        """
        for attempt in range(_MOST_ATTEMPTS):
            try:
                await self._index_study(pk, entries)
            except OperationRefused:
                await asyncio.sleep(random.uniform(0, min(0.01 * 1.5**attempt, 2)))  # noqa: S311
            else:
                return
        raise Unavailable

    async def _index_study(self, pk: str, entries: Sequence[ExtendedTag]) -> None:
        study = await self._documents.get(INDEX.name, pk, shapes.study_id(pk.partition("|")[2]))
        if study is None:
            return
        found: dict[str, dict[str, tuple[str, JsonElement]]] = {}
        wrong: set[str] = set()
        after: list[str] | None = None
        while True:
            page = await self._page(pk, Eq(("type",), shapes.INSTANCE), after, _MEMBERS)
            patches: list[Patch] = []
            for body in page:
                values, faults = values_of(await self._elements(body), entries)
                wrong |= faults.keys()
                patches += self._patches(body, entries, values, faults)
                newest = found.setdefault(body["series"], {})
                for key, element in values.items():
                    if key not in newest or body["version"] > newest[key][0]:
                        newest[key] = body["version"], element
            await self._apply(pk, patches)
            if len(page) < _PAGE:
                break
            after = [page[-1]["series"], page[-1]["version"]]
        if any(found.values()):
            await self._put_above(pk, study.body, study.etag, found)
        numbers = [entry.number for entry in entries if entry.error_key in wrong]
        if numbers:
            await self.registry.note_errors(numbers)

    async def _page(
        self, pk: str, where: Where, after: list[str] | None, members: Sequence[str] | None
    ) -> list[JsonObject]:
        return await self._documents.query(
            INDEX.name,
            And((where,)),
            order=_FORWARD,
            limit=_PAGE,
            after=after,
            partition=pk,
            members=members,
        )

    async def _elements(self, body: JsonObject) -> dict[str, JsonElement]:
        chunk = ChunkPlace.from_json(body["metadata"])
        try:
            texts = [text async for text in chunk_texts(self._blobs, [chunk], chunk.base)]
        except BlobNotFound:
            return {}  # deleted and purged since
        elements: dict[str, JsonElement] = json.loads(texts[0])
        return elements

    # Instances ----------------------------------------------------------------------------

    def _patches(
        self,
        body: JsonObject,
        entries: Sequence[ExtendedTag],
        values: dict[str, JsonElement],
        faults: dict[str, int],
    ) -> list[Patch]:
        """What brings an instance document up to date."""
        put: dict[tuple[str, ...], object] = {
            ("d", key): element for key, element in values.items() if body["d"].get(key) != element
        }
        terms = level_terms(values, dicom.INSTANCE)
        put |= {
            ("q", key): terms[key]
            for key in values.keys() & terms.keys()
            if body["q"].get(key) != terms[key]
        }
        before = body.get(TAG_ERRORS) or {}
        now = iso(self._clock.now())
        ours = {entry.error_key for entry in entries}
        errors = {name: fault for name, fault in before.items() if name not in ours}
        errors |= {
            name: before.get(name, {"code": code, "time": now}) for name, code in faults.items()
        }
        if errors != before:
            put[TAG_ERRORS,] = errors
        items = list(put.items())
        when: dict[tuple[str, ...], Scalar] = {("version",): body["version"]}
        return [
            Patch(body["id"], put=dict(items[at : at + _MOST_PUT]), when=when)
            for at in range(0, len(items), _MOST_PUT)
        ]

    async def _apply(self, pk: str, patches: list[Patch]) -> None:
        """Apply patches; an instance that was deleted or replaced meanwhile needs none."""
        for at in range(0, len(patches), _MOST_IN_A_BATCH):
            batch = patches[at : at + _MOST_IN_A_BATCH]
            while batch:
                try:
                    await self._documents.commit(INDEX.name, pk, batch)
                except OperationRefused as refused:
                    gone = batch[refused.index].id
                    batch = [patch for patch in batch if patch.id != gone]
                else:
                    break

    # Series and study ---------------------------------------------------------------------

    async def _put_above(
        self,
        pk: str,
        study: JsonObject,
        etag: str,
        found: dict[str, dict[str, tuple[str, JsonElement]]],
    ) -> None:
        """The newest values in the series and the study, in one batch as far as it goes."""
        everything = await self._all_series(pk)
        shown = merge_attributes(study["d"], _newest(found.values(), (dicom.STUDY,)))
        study = {**study, **study_terms(shown), "termsVersion": study["termsVersion"] + 1}
        study["spreading"] = True
        changed: list[JsonObject] = []
        for body in everything:
            values = _newest([found.get(body["series"], {})], (dicom.STUDY, dicom.SERIES))
            shown = merge_attributes(body["d"], values)
            after = {
                **body,
                **series_terms(shown, study["q"]),
                "termsVersion": body["termsVersion"] + 1,
            }
            changed.append(after)
        self._committer.forget(pk)
        for at in range(0, max(len(changed), 1), _MOST_IN_A_BATCH):
            batch: list[Operation] = [Replace(study, etag)]
            batch += [Upsert(body) for body in changed[at : at + _MOST_IN_A_BATCH]]
            await self._documents.commit(INDEX.name, pk, batch)
            if at + _MOST_IN_A_BATCH < len(changed):
                written = await self._documents.get(INDEX.name, pk, study["id"])
                if written is None or written.body != study:
                    raise Unavailable
                etag = written.etag
        await self._committer.align(pk)

    async def _all_series(self, pk: str) -> list[JsonObject]:
        bodies: list[JsonObject] = []
        after: list[str] | None = None
        while True:
            page = await self._page(pk, Eq(("type",), shapes.SERIES), after, None)
            bodies += page
            if len(page) < _PAGE:
                return bodies
            after = [page[-1]["series"], page[-1]["version"]]


def _newest(
    found: Iterable[dict[str, tuple[str, JsonElement]]], levels: tuple[str, ...]
) -> dict[str, JsonElement]:
    """Of each key of some levels the value of the newest instance."""
    newest: dict[str, tuple[str, JsonElement]] = {}
    for values in found:
        for key, (version, element) in values.items():
            of_level = key.partition(".")[0] in levels
            if of_level and (key not in newest or version > newest[key][0]):
                newest[key] = version, element
    return {key: element for key, (_, element) in newest.items()}
