"""Extended query tags as keys of searches (spec extended-query-tags.md §8)."""

from __future__ import annotations

from collections.abc import Iterable

from shared.dicom.attributes import SearchKey, keyword_of
from shared.tags.models import ExtendedTag, QueryStatus, Status
from shared.web.query import ExtendedKeys


def search_keys(entries: Iterable[ExtendedTag]) -> ExtendedKeys:
    """The tags that may be searched by, and why not by the others."""
    usable: dict[int, SearchKey] = {}
    refused: dict[int, str] = {}
    for entry in entries:
        if entry.status is not Status.READY:
            refused[entry.tag] = "what is stored is being indexed by it."
        elif entry.query_status is not QueryStatus.ENABLED:
            refused[entry.tag] = "the extended query tag is disabled."
        else:
            usable[entry.tag] = SearchKey(
                (entry.tag,),
                keyword_of(entry.tag) or entry.path,
                entry.vr,
                entry.level,
                core=False,
                stored_as=entry.key,
            )
    return ExtendedKeys(usable, refused)
