"""What the headers of a search response say of its pages.

========================  ==================================================================
``Link: <…>; rel="next"``  the next page; stays right while others store (RFC 8288)
``Warning: 299``           there are further results (PS3.18 8.3.4.4)
``X-Total-Count``          how many on all pages, if ``Prefer: count=exact`` was sent (RFC 7240)
========================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlencode

from shared.search.service import Page
from shared.web.query import SearchQuery

_PAGE_PARAMETERS = frozenset({"offset", "continuation"})


def wants_count(prefer: Sequence[str]) -> bool:
    """Whether the lines of the header ``Prefer`` ask for ``count=exact``."""
    for line in prefer:
        for preference in line.split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            if name.strip().lower() == "count" and value.strip(' "\t').lower() == "exact":
                return True
    return False


def page_headers(
    page: Page,
    query: SearchQuery,
    address: str,
    parameters: Iterable[tuple[str, str]],
    service: str,
) -> dict[str, str]:
    """The headers of a page.

    Parameters
    ----------
    page, query
        What was found, and by what.
    address : str
        Public address of the resource, without query.
    parameters : Iterable of (name, value)
        Of the request, decoded.
    service : str
        Base address of the service, for the warning.
    """
    headers: dict[str, str] = {}
    if page.total is not None:
        headers["X-Total-Count"] = str(page.total)
        headers["Preference-Applied"] = "count=exact"
    if page.continuation is not None:
        kept = [
            (name, value)
            for name, value in parameters
            if name and name.lower() not in _PAGE_PARAMETERS
        ]
        following = urlencode([*kept, ("continuation", page.continuation)], quote_via=quote)
        headers["Link"] = f'<{address}?{following}>; rel="next"'
        headers["Warning"] = (
            f"299 {service}: There are {_further(page, query)}additional results "
            "that can be requested"
        )
    return headers


def _further(page: Page, query: SearchQuery) -> str:
    """Their number, where it is known: not behind a continuation, where nothing was skipped."""
    if page.total is None or query.after is not None:
        return ""
    return f"{max(page.total - query.offset - len(page.rows), 1)} "
