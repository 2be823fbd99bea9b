"""What an extended query tag is, and the list of those that a tenant has.

The list is one document of the container ``control``: it is read by one point read, and changes
as a whole. Each tag has a number that no other ever had; documents of the index keep its values
under its ``key``, which ends in that number. So a tag that is deleted is gone from every search at
once, and one that is added again starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

from shared.dicom import attributes as dicom
from shared.dicom import tags
from shared.ports import JsonObject

MOST_TAGS: Final = 128
VRS: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DT", "FD", "FL", "IS", "LO", "PN", "SH", "SL", "SS", "TM", "UI",
     "UL", "US"}
)  # fmt: skip
"""VRs that a tag may have (spec §3.1)."""

KIND: Final = "tag"
DOCUMENT: Final = "tags"
_BLOCKS: Final = range(0x10, 0x100)


class Status(StrEnum):
    """Where a tag stands (spec §5). ``deleting`` never lasts: deletion is one write."""

    ADDING = "adding"
    READY = "ready"


class QueryStatus(StrEnum):
    """Whether a tag may be searched by."""

    ENABLED = "enabled"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class ExtendedTag:
    """An attribute that is searched beside the built-in ones.

    Parameters
    ----------
    tag : int
        As it was added: a private one with the block of its own choice.
    vr : str
        One of ``VRS``.
    level : str
        ``study``, ``series`` or ``instance``.
    creator : str or None
        Of a private element.
    number : int
        Of this tag, counted up over all that there ever were.
    status, query_status
        See there.
    operation : str or None
        The one that indexes what is stored already.
    has_errors : bool
        Whether that has found values that are invalid.
    """

    tag: int
    vr: str
    level: dicom.Level
    creator: str | None = None
    number: int = 0
    status: Status = Status.ADDING
    query_status: QueryStatus = QueryStatus.ENABLED
    operation: str | None = None
    has_errors: bool = False

    @property
    def path(self) -> str:
        """The tag in eight hexadecimal digits."""
        return tags.key(self.tag)

    @property
    def key(self) -> str:
        """Where documents of the index keep its values."""
        return f"{self.level}.{self.path}.{self.number}"

    @property
    def error_key(self) -> str:
        """Where instance documents keep what is wrong with its values."""
        return f"{self.path}.{self.number}"

    @property
    def is_left_over(self) -> bool:
        """Whether the operation that was to index by it has ended without it (spec §3)."""
        return self.status is Status.ADDING and self.operation is None

    def elements(self) -> Iterable[int]:
        """The tags that have to be read from a file to find its value."""
        if self.creator is None:
            return (self.tag,)
        group, low = self.tag & 0xFFFF0000, self.tag & 0xFF
        return (group | element for block in _BLOCKS for element in (block, block << 8 | low))

    def to_json(self) -> JsonObject:
        """As the list keeps it."""
        return {
            "tag": self.tag, "vr": self.vr, "level": self.level, "creator": self.creator,
            "number": self.number, "status": self.status.value,
            "queryStatus": self.query_status.value, "operation": self.operation,
            "hasErrors": self.has_errors,
        }  # fmt: skip

    @staticmethod
    def from_json(body: JsonObject) -> ExtendedTag:
        """Read what ``to_json`` wrote."""
        return ExtendedTag(
            body["tag"], body["vr"], body["level"], body["creator"], body["number"],
            Status(body["status"]), QueryStatus(body["queryStatus"]), body["operation"],
            body["hasErrors"],
        )  # fmt: skip


@dataclass(frozen=True)
class TagList:
    """The tags of a tenant, in the order in which they were added.

    ``last`` is the highest number that a tag has had; ``operations`` are the newest of those that
    have added tags, whatever has become of these since.
    """

    entries: tuple[ExtendedTag, ...] = ()
    last: int = 0
    operations: tuple[str, ...] = ()

    @property
    def newest(self) -> int:
        """The highest number of those that are there."""
        return max((entry.number for entry in self.entries), default=0)

    def find(self, tag: int) -> ExtendedTag | None:
        """The entry of a tag."""
        return next((entry for entry in self.entries if entry.tag == tag), None)

    def newer_than(self, other: TagList) -> tuple[ExtendedTag, ...]:
        """The entries that were added since ``other``."""
        return tuple(entry for entry in self.entries if entry.number > other.last)

    def with_entries(self, entries: Iterable[ExtendedTag]) -> TagList:
        """The list with others in place of all its entries."""
        return replace(self, entries=tuple(entries))

    @cached_property
    def wanted(self) -> frozenset[int]:
        """All that has to be read from a file."""
        return frozenset(tag for entry in self.entries for tag in entry.elements())

    @cached_property
    def checked(self) -> Mapping[int, str]:
        """The VR that an element must have, by tag (spec §7).

        Private elements are left out: under the same tag another creator may have another one.
        """
        return {entry.tag: entry.vr for entry in self.entries if entry.creator is None}


NO_TAGS: Final = TagList()
