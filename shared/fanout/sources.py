"""Where the entries of subscriptions come from: the change feed, or the mailbox of an AE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from shared.fanout.events import cloud_event, report_event
from shared.fanout.models import Origin, Subscription
from shared.feed.reader import ChangeFeed
from shared.ports import JsonObject
from shared.worklist.mailboxes import Mailboxes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a source.

    Parameters
    ----------
    number : int
        Its place; later entries have greater ones.
    event : JsonObject or None
        What is sent; ``None``: the subscription does not ask for it.
    """

    number: int
    event: JsonObject | None


class Source(Protocol):
    """Entries in order."""

    async def last(self, subscription: Subscription) -> int:
        """The number of the newest entry; 0 if there is none."""
        ...

    async def entries(self, subscription: Subscription, after: int, last: int) -> list[Entry]:
        """The entries behind one, up to another; none whose number is still to be seen before."""
        ...


class FeedSource:
    """The change feed.

    Parameters
    ----------
    service_url : str
        Public address of the tenant, without a version.
    """

    def __init__(self, feed: ChangeFeed, service_url: str) -> None:
        self._feed = feed
        self._service_url = service_url

    async def last(self, subscription: Subscription) -> int:
        """See ``Source.last``."""
        return await self._feed.last_sequence()

    async def entries(self, subscription: Subscription, after: int, last: int) -> list[Entry]:
        """See ``Source.entries``. The feed has no gaps: what is missing is on its way."""
        found = await self._feed.entries(after, last)
        return [
            Entry(one["sequence"], self._event(subscription, one))
            for at, one in enumerate(found)
            if one["sequence"] == after + 1 + at
        ]

    def _event(self, subscription: Subscription, entry: JsonObject) -> JsonObject | None:
        return cloud_event(entry, self._service_url) if subscription.wants(entry) else None


class MailboxSource:
    """The event reports of the AE that a subscription names.

    Parameters
    ----------
    service_url : str
        Public address of the tenant, without a version.
    """

    def __init__(self, mailboxes: Mailboxes, service_url: str) -> None:
        self._mailboxes = mailboxes
        self._service_url = service_url

    async def last(self, subscription: Subscription) -> int:
        """See ``Source.last``."""
        return await self._mailboxes.last(*subscription.mailbox)

    async def entries(self, subscription: Subscription, after: int, last: int) -> list[Entry]:
        """See ``Source.entries``. What is missing was kept for long enough."""
        found = await self._mailboxes.reports(*subscription.mailbox, after, last - after)
        return [
            Entry(int(one["version"]), report_event(one, self._service_url))
            for one in found
            if int(one["version"]) <= last
        ]


def sources_of(feed: ChangeFeed, mailboxes: Mailboxes, service_url: str) -> Mapping[Origin, Source]:
    """The sources of a tenant; ``service_url`` is its public address, without a version."""
    return {
        Origin.FEED: FeedSource(feed, service_url),
        Origin.WORKLIST: MailboxSource(mailboxes, service_url),
    }
