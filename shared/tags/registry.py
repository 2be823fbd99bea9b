"""The list of a tenant's extended query tags, kept and changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from shared.errors import BadRequest, NotFound, OperationRefused, StateConflict, Unavailable
from shared.index.schema import CONTROL
from shared.ports import Create, Document, Documents, Operation, Replace
from shared.tags.models import (
    DOCUMENT,
    KIND,
    MOST_TAGS,
    NO_TAGS,
    ExtendedTag,
    QueryStatus,
    Status,
    TagList,
)

_MOST_ATTEMPTS: Final = 20
_KNOWN_FOR_S: Final = 60.0
_MOST_OPERATIONS_REMEMBERED: Final = 20


class TagNotFound(NotFound):
    """There is no such extended query tag."""


class TagExists(StateConflict):
    """The tag is there already."""


class TooManyTags(BadRequest):
    """There would be more tags than there may be."""


class TagRegistry:
    """The tags of one tenant."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._known: TagList | None = None
        self._read_at = 0.0

    async def read(self) -> TagList:
        """The list as it is now."""
        document = await self._documents.get(CONTROL.name, KIND, DOCUMENT)
        self._known, self._read_at = _list(document), time.monotonic()
        return self._known

    async def newest(self) -> int:
        """The highest number that a tag has now."""
        return (await self.read()).newest

    async def known(self) -> TagList:
        """The list as this process last saw it. Who relies on it looks again when it is done."""
        if self._known is None or time.monotonic() - self._read_at > _KNOWN_FOR_S:
            return await self.read()
        return self._known

    async def get(self, tag: int) -> ExtendedTag:
        """One tag.

        Raises
        ------
        TagNotFound
            There is none.
        """
        return _found(await self.read(), tag)

    async def require_new(self, entries: Sequence[ExtendedTag]) -> None:
        """Refuse tags that cannot be added.

        Raises
        ------
        TooManyTags, TagExists
            There is no room for them, or one is there.
        """
        _added(await self.read(), entries, None)

    async def add(self, entries: Sequence[ExtendedTag], operation: str) -> None:
        """Add tags which an operation indexes. Twice is once, even if it has ended meanwhile.

        Raises
        ------
        TooManyTags, TagExists
            There is no room for them, or one is there; nothing was added.
        """
        await self._change(lambda tags: _added(tags, entries, operation))

    async def ready(self, operation: str) -> None:
        """The operation has indexed all that was stored."""

        def change(entry: ExtendedTag) -> ExtendedTag:
            if entry.operation != operation:
                return entry
            return replace(entry, status=Status.READY, operation=None)

        await self._change(lambda tags: tags.with_entries(map(change, tags.entries)))

    async def release(self, operation: str) -> None:
        """The operation has ended before it had indexed all: its tags may be added again."""

        def change(entry: ExtendedTag) -> ExtendedTag:
            return replace(entry, operation=None) if entry.operation == operation else entry

        await self._change(lambda tags: tags.with_entries(map(change, tags.entries)))

    async def note_errors(self, numbers: Iterable[int]) -> None:
        """Invalid values were found for the first time: the tags are disabled (spec §5)."""
        wrong = frozenset(numbers)

        def change(entry: ExtendedTag) -> ExtendedTag:
            if entry.number not in wrong or entry.has_errors:
                return entry
            return replace(entry, has_errors=True, query_status=QueryStatus.DISABLED)

        await self._change(lambda tags: tags.with_entries(map(change, tags.entries)))

    async def set_query_status(self, tag: int, status: QueryStatus) -> ExtendedTag:
        """Let a tag be searched by, or not.

        Raises
        ------
        TagNotFound
            There is none.
        """

        def change(tags: TagList) -> TagList:
            entry = _found(tags, tag)
            new = replace(entry, query_status=status)
            return tags.with_entries(new if one is entry else one for one in tags.entries)

        return _found(await self._change(change), tag)

    async def delete(self, tag: int) -> None:
        """Delete a tag. Its values are found no more; what is left of them goes with time.

        Raises
        ------
        TagNotFound
            There is none.
        """

        def change(tags: TagList) -> TagList:
            entry = _found(tags, tag)
            return tags.with_entries(one for one in tags.entries if one is not entry)

        await self._change(change)

    async def _change(self, change: Callable[[TagList], TagList]) -> TagList:
        for _ in range(_MOST_ATTEMPTS):
            document = await self._documents.get(CONTROL.name, KIND, DOCUMENT)
            before = _list(document)
            after = change(before)
            if after == before:
                return after
            try:
                await self._documents.commit(CONTROL.name, KIND, [_write(document, after)])
            except OperationRefused:
                continue  # another writer was faster
            self._known = after
            return after
        raise Unavailable


def _write(document: Document | None, tags: TagList) -> Operation:
    body = {
        "id": DOCUMENT,
        "kind": KIND,
        "last": tags.last,
        "operations": list(tags.operations),
        "entries": [entry.to_json() for entry in tags.entries],
    }
    return Create(body) if document is None else Replace(body, document.etag)


def _list(document: Document | None) -> TagList:
    if document is None:
        return NO_TAGS
    body = document.body
    entries = map(ExtendedTag.from_json, body["entries"])
    return TagList(tuple(entries), body["last"], tuple(body.get("operations", ())))


def _found(tags: TagList, tag: int) -> ExtendedTag:
    found = tags.find(tag)
    if found is None:
        raise TagNotFound("There is no such extended query tag.")
    return found


def _added(tags: TagList, entries: Sequence[ExtendedTag], operation: str | None) -> TagList:
    if operation in tags.operations:
        return tags
    asked = {entry.tag for entry in entries}
    # what an operation has left half-way is begun anew
    kept = [entry for entry in tags.entries if not (entry.is_left_over and entry.tag in asked)]
    known = {entry.tag for entry in kept}
    new: list[ExtendedTag] = []
    for entry in entries:
        if entry.tag in known:
            raise TagExists(f"The extended query tag {entry.path} exists already.")
        number = tags.last + len(new) + 1
        new.append(replace(entry, number=number, operation=operation, status=Status.ADDING))
    if len(known) + len(new) > MOST_TAGS:
        raise TooManyTags(f"There may be at most {MOST_TAGS} extended query tags.")
    operations = (*tags.operations, *([] if operation is None else [operation]))
    return TagList((*kept, *new), tags.last + len(new), operations[-_MOST_OPERATIONS_REMEMBERED:])
