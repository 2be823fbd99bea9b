"""What was wrong with values of extended query tags, as the instances' documents keep it.

So a deletion takes the errors of an instance with it, and an undelete brings them back.
"""

from __future__ import annotations

from typing import Final

from shared.index import shapes
from shared.index.partitions import Partitions
from shared.index.schema import INDEX
from shared.ports import Documents, JsonObject
from shared.tags.indexing import TAG_ERRORS
from shared.tags.models import ExtendedTag
from shared.tags.values import MESSAGES
from shared.where import And, Eq, Exists, Order, Where

_MEMBERS: Final = ("partition", "study", "series", "instance", TAG_ERRORS)


class TagErrors:
    """The errors of one tenant's tags."""

    def __init__(self, documents: Documents, partitions: Partitions) -> None:
        self._documents = documents
        self._partitions = partitions

    async def count(self, entry: ExtendedTag) -> int:
        """How many instances have an invalid value."""
        return await self._documents.count(INDEX.name, _where(entry))

    async def page(self, entry: ExtendedTag, *, limit: int, offset: int) -> list[JsonObject]:
        """Some errors, in the order in which they were found (spec §4)."""
        found = await self._documents.query(
            INDEX.name,
            _where(entry),
            order=[Order((TAG_ERRORS, entry.error_key, "time"))],
            limit=limit,
            skip=offset,
            members=_MEMBERS,
        )
        return [await self._shown(body, entry) for body in found]

    async def _shown(self, body: JsonObject, entry: ExtendedTag) -> JsonObject:
        fault = body[TAG_ERRORS][entry.error_key]
        partition = await self._partitions.resolve(body["partition"], create=False)
        return {
            "partitionName": partition.name,
            "studyInstanceUid": body["study"],
            "seriesInstanceUid": body["series"],
            "sopInstanceUid": body["instance"],
            "createdTime": fault["time"],
            "errorMessage": MESSAGES[fault["code"]],
        }


def _where(entry: ExtendedTag) -> Where:
    return And((Eq(("type",), shapes.INSTANCE), Exists((TAG_ERRORS, entry.error_key, "time"))))
