"""Data partitions of a tenant (spec partitions-and-security.md §1)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

from shared.errors import InvalidPartitionName, OperationRefused, UnknownPartition
from shared.index.schema import CONTROL
from shared.index.shapes import DEFAULT_PARTITION
from shared.ports import Clock, Create, Documents, JsonObject
from shared.where import Eq, Order, Range

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KIND = "partition"
_DEFAULT_KEY = 1
_MOST_CACHED = 10_000
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Partition:
    """A data partition: its ``name`` as first spelled, and its number.

    Names are compared without case; ``name`` is the spelling for URLs, lists and folders.
    """

    name: str
    key: int
    created: datetime | None

    @property
    def folded(self) -> str:
        """The name in the form by which it is compared."""
        return self.name.lower()


DEFAULT = Partition(DEFAULT_PARTITION, _DEFAULT_KEY, None)


class Partitions:
    """The data partitions of one tenant. The default one is as old as the tenant itself."""

    def __init__(self, documents: Documents, clock: Clock, created: datetime | None = None) -> None:
        self._created = created
        self._documents = documents
        self._clock = clock
        # a partition is never renamed or deleted, so what was found once stays true
        self._known: dict[str, Partition] = {DEFAULT.folded: DEFAULT}

    async def resolve(self, name: str | None, *, create: bool) -> Partition:
        """Find a partition by name, the default one if ``None``.

        Raises
        ------
        InvalidPartitionName
            The name is not 1–64 of ``A-Z a-z 0-9 . - _``.
        UnknownPartition
            There is none of that name, and ``create`` is not set.
        """
        if name is None:
            return DEFAULT
        if _NAME.fullmatch(name) is None:
            raise InvalidPartitionName(
                "A partition name has 1 to 64 characters out of A-Z, a-z, 0-9, '.', '-' and '_'."
            )
        known = self._known.get(name.lower()) or await self._find(name)
        if known is None and create:
            known = await self._create(name)
        if known is None:
            raise UnknownPartition("The partition does not exist.")
        if len(self._known) < _MOST_CACHED:
            self._known[known.folded] = known
        return known

    async def list(self) -> AsyncIterator[Partition]:
        """All partitions in the order of their creation, the default one first."""
        yield replace(DEFAULT, created=self._created)
        after: list[int] | None = None
        while True:
            page = await self._documents.query(
                CONTROL.name,
                Range(("key",), _DEFAULT_KEY, None),
                order=[Order(("key",))],
                limit=_PAGE,
                after=after,
                partition=_KIND,
            )
            for body in page:
                yield _from_body(body)
            if len(page) < _PAGE:
                return
            after = [page[-1]["key"]]

    async def _find(self, name: str) -> Partition | None:
        found = await self._documents.get(CONTROL.name, _KIND, _document_id(name))
        return None if found is None else _from_body(found.body)

    async def _create(self, name: str) -> Partition:
        """Create a partition; of several at once exactly one wins, and all get that one."""
        while True:
            key = await self._next_key()
            body: JsonObject = {
                "id": _document_id(name),
                "kind": _KIND,
                "name": name,
                "key": key,
                "created": self._clock.now().isoformat(),
            }
            # a second document claims the number, so that no two partitions share one
            claim: JsonObject = {"id": f"key|{key}", "kind": _KIND}
            try:
                await self._documents.commit(CONTROL.name, _KIND, [Create(body), Create(claim)])
            except OperationRefused:
                found = await self._find(name)
                if found is not None:
                    return found
            else:
                return _from_body(body)

    async def _next_key(self) -> int:
        newest = await self._documents.query(
            CONTROL.name,
            Eq(("kind",), _KIND),
            order=[Order(("key",), descending=True)],
            limit=1,
            partition=_KIND,
            members=["key"],
        )
        return int(newest[0].get("key", _DEFAULT_KEY)) + 1 if newest else _DEFAULT_KEY + 1


def _document_id(name: str) -> str:
    return f"name|{name.lower()}"


def _from_body(body: JsonObject) -> Partition:
    return Partition(body["name"], body["key"], datetime.fromisoformat(body["created"]))
