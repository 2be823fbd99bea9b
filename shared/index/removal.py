"""Take instances out of the index: the other half of the commit protocol (architecture §6).

A batch deletes instance documents, brings series and study to what is left, leaves a tombstone
that names the files, and an outbox document. The study document is replaced under its ETag, so
that a removal never works on an old picture: a store into the same study at the same time makes it
start again. Files stay until the tombstone is due.

References
----------
Architecture §6; spec dicomweb.md §5.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta

from shared.dicom import attributes as dicom
from shared.dicom.instance import JsonElement
from shared.dicom.tags import key as tag_key
from shared.errors import OperationRefused, Refusal, ServiceTrouble, Unavailable
from shared.index import shapes
from shared.index.commit import Committer
from shared.index.documents import (
    iso,
    kept,
    modality_of,
    outbox_body,
    series_terms,
    study_terms,
    with_modalities,
)
from shared.index.schema import INDEX
from shared.index.terms import has_value
from shared.ports import (
    MAX_COMMIT_BYTES,
    Clock,
    Create,
    Delete,
    Document,
    Documents,
    Ids,
    JsonObject,
    Operation,
    Queue,
    Replace,
    Upsert,
)
from shared.where import And, Eq, In, Not, Order, Where

_log = logging.getLogger("dicom.delete")

PURGE_QUEUE = "purge"
LONGEST_DELAY_S = 6 * 24 * 3600.0
"""Longest delay that a message is given; the queue takes 7 days."""

_MOST_IN_A_BATCH = 40
_MOST_BATCH_BYTES = MAX_COMMIT_BYTES // 2
_MOST_ATTEMPTS = 60
_PAGE = 50
_MODALITIES = tag_key(dicom.MODALITIES_IN_STUDY)


class Remover:
    """Removes instances from the index of one tenant."""

    def __init__(
        self,
        documents: Documents,
        committer: Committer,
        queue: Queue,
        *,
        ids: Ids,
        clock: Clock,
        tenant: str,
        retention: timedelta,
    ) -> None:
        self._documents = documents
        self._committer = committer
        self._queue = queue
        self._ids = ids
        self._clock = clock
        self._tenant = tenant
        self._retention = retention

    async def remove(
        self,
        partition: str,
        study: str,
        series: str | None = None,
        instance: str | None = None,
        *,
        due_by: str | None = None,
        most: int | None = None,
    ) -> int:
        """Remove a study, a series of it, or an instance of that.

        Parameters
        ----------
        partition : str
            Data partition, as first spelled.
        study, series, instance : str
            Normalised UIDs.
        due_by : str or None
            Only while the study is one that expires, by this moment.
        most : int or None
            Stop when so many are removed; a batch more or less.

        Returns
        -------
        int
            How many instances were removed; 0: there were none.
        """
        pk = shapes.partition_key(partition, study)
        where = _which(series, instance)
        removed = 0
        attempts = 0
        while True:
            document = await self._documents.get(INDEX.name, pk, shapes.study_id(study))
            victims = [] if document is None else await self._victims(pk, where)
            if document is None or not victims or not _is_due(document.body, due_by):
                return removed
            try:
                await self._remove_batch(pk, partition, document, victims)
            except OperationRefused:
                attempts += 1
                if attempts > _MOST_ATTEMPTS:
                    raise Unavailable from None
            else:
                removed += len(victims)
                if most is not None and removed >= most:
                    return removed

    async def _victims(self, pk: str, where: Where) -> list[JsonObject]:
        page = await self._documents.query(
            INDEX.name, where, order=[Order(("version",))], limit=_MOST_IN_A_BATCH, partition=pk
        )
        victims: list[JsonObject] = []
        size = 0
        for body in page:
            size += len(json.dumps(body, ensure_ascii=False))
            if victims and size > _MOST_BATCH_BYTES:
                break
            victims.append(body)
        return victims

    async def _remove_batch(
        self, pk: str, partition: str, document: Document, victims: list[JsonObject]
    ) -> None:
        ids = tuple(body["id"] for body in victims)
        lost: dict[str, int] = {}
        for body in victims:
            lost[body["series"]] = lost.get(body["series"], 0) + 1
        everything = {body["series"]: body for body in await self.all_series(pk)}
        study, series = await self.left(pk, document.body, everything, lost, ids)
        emptied = [everything[uid] for uid, body in series.items() if body is None]
        tombstone = self.tombstone(pk, partition, victims, emptied)
        operations: list[Operation] = [
            Delete(document.body["id"], document.etag)
            if study is None
            else Replace(study, document.etag)
        ]
        operations += [
            Delete(shapes.series_id(uid)) if body is None else Upsert(body)
            for uid, body in series.items()
        ]
        operations += [Delete(name) for name in ids]
        operations += [Create(tombstone), Create(self._outbox(pk, partition, victims))]
        self._committer.forget(pk)
        await self._committer.commit(pk, operations)
        self._committer.changed(pk, [body for body in series.values() if body is not None])
        if study is not None and study["spreading"]:
            await self._committer.align(pk)
        await self.ask_for_purge(pk, tombstone["id"])

    async def ask_for_purge(self, pk: str, tombstone: str) -> None:
        """Have the files of a tombstone purged when it is due."""
        message = {"tenant": self._tenant, "pk": pk, "tombstone": tombstone}
        delay = min(self._retention.total_seconds(), LONGEST_DELAY_S)
        try:
            await self._queue.send(PURGE_QUEUE, message, delay_s=delay)
        except ServiceTrouble:
            # the deletion stands; the sweep finds the tombstone when it is due
            _log.warning("a purge could not be asked for", extra={"tenant": self._tenant})

    def tombstone(
        self, pk: str, partition: str, victims: list[JsonObject], emptied: list[JsonObject]
    ) -> JsonObject:
        """The document that names the files of ``victims``, and segments of ``emptied`` series."""
        now = self._clock.now()
        version = self._ids.version()
        return {
            "id": f"tombstone|{version}",
            "pk": pk,
            "type": shapes.TOMBSTONE,
            "partition": partition,
            "version": version,
            "deleted": iso(now),
            "due": iso(now + self._retention),
            "versions": [version for body in victims for version in shapes.versions_of(body)],
            "instances": victims,
            "segments": [body["compacted"]["segment"] for body in emptied if "compacted" in body],
        }

    def _outbox(self, pk: str, partition: str, victims: list[JsonObject]) -> JsonObject:
        changes = [
            {"action": "Delete", "series": body["series"], "instance": body["instance"],
             "version": body["version"]}
            for body in victims
        ]  # fmt: skip
        return outbox_body(
            pk,
            partition,
            victims[0]["study"],
            version=self._ids.version(),
            now=self._clock.now(),
            changes=changes,
        )

    # What is left -------------------------------------------------------------------------

    async def left(
        self,
        pk: str,
        study: JsonObject,
        everything: dict[str, JsonObject],
        lost: dict[str, int],
        ids: tuple[str, ...],
    ) -> tuple[JsonObject | None, dict[str, JsonObject | None]]:
        """The study and the touched series without the victims; ``None`` for what is empty."""
        series: dict[str, JsonObject | None] = {}
        for uid, count in lost.items():
            before = everything.get(uid)
            if before is None:  # removed since the study was read: a commit would be refused
                raise OperationRefused(0, Refusal.CHANGED)
            left = before["instanceCount"] - count
            series[uid] = None
            if left > 0:
                shown = await self._newest(pk, before["d"], ids, dicom.SERIES, uid)
                series[uid] = {**_changed(before, left), "d": shown}
        remaining = study["instanceCount"] - sum(lost.values())
        if remaining <= 0:
            return None, series
        shown = await self._newest(pk, study["d"], ids, dicom.STUDY, None)
        rest = [body for uid, body in {**everything, **series}.items() if body is not None]
        shown = with_modalities(shown, {word for body in rest for word in modality_of(body["d"])})
        after = {**_changed(study, remaining), **study_terms(shown), "seriesCount": len(rest)}
        for body in series.values():
            if body is not None:
                terms = body["q"]
                body.update(series_terms(body["d"], after["q"]))
                after["spreading"] = after["spreading"] or body["q"] != terms
        after["spreading"] = after["spreading"] or after["q"] != study["q"]
        return after, series

    async def all_series(self, pk: str) -> list[JsonObject]:
        """The series documents of a study."""
        found: list[JsonObject] = []
        after: list[str] | None = None
        while True:
            page = await self._documents.query(
                INDEX.name,
                Eq(("type",), shapes.SERIES),
                order=[Order(("version",), descending=True), Order(("id",))],
                limit=_PAGE,
                after=after,
                partition=pk,
            )
            found += page
            if len(page) < _PAGE:
                return found
            after = [page[-1]["version"], page[-1]["id"]]

    async def _newest(
        self,
        pk: str,
        shown: dict[str, JsonElement],
        ids: tuple[str, ...],
        level: dicom.Level,
        series: str | None,
    ) -> dict[str, JsonElement]:
        """The attributes of a document from the instances left: of each the newest value.

        Read newest first, and no further than until all that the document shows are found.
        """
        # modalities of the study are worked out from its series: no instance has them
        wanted = {tag for tag, element in shown.items() if has_value(element)} - {_MODALITIES}
        found: dict[str, JsonElement] = {}
        where = And((_which(series, None), Not(In(("id",), ids))))
        after: list[str] | None = None
        while True:
            page = await self._documents.query(
                INDEX.name,
                where,
                order=[Order(("version",), descending=True), Order(("id",))],
                limit=_PAGE,
                after=after,
                partition=pk,
                members=["id", "version", "d"],
            )
            for body in page:
                _fill(found, kept(body["d"], level))
            if len(page) < _PAGE or all(has_value(found.get(tag)) for tag in wanted):
                return found
            after = [page[-1]["version"], page[-1]["id"]]


def _fill(found: dict[str, JsonElement], older: dict[str, JsonElement]) -> None:
    for tag, element in older.items():
        if tag not in found or (has_value(element) and not has_value(found[tag])):
            found[tag] = element


def _changed(body: JsonObject, count: int) -> JsonObject:
    return {
        **body,
        "instanceCount": count,
        "revision": body["revision"] + 1,
        "termsVersion": body["termsVersion"] + 1,
    }


def _is_due(study: JsonObject, due_by: str | None) -> bool:
    return due_by is None or (study.get("due") is not None and study["due"] <= due_by)


def _which(series: str | None, instance: str | None) -> Where:
    of_instances = Eq(("type",), shapes.INSTANCE)
    if series is None:
        return of_instances
    if instance is None:
        return And((of_instances, Eq(("series",), series)))
    return And((of_instances, Eq(("id",), shapes.instance_id(series, instance))))
