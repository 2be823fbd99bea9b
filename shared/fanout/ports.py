"""What fan-out needs of the world beyond the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shared.fanout.models import Subscription


class NotDelivered(Exception):
    """Events could not be delivered. The text is for operators, and has nothing of a patient.

    Parameters
    ----------
    text : str
        What happened.
    retry_after_s : float or None
        When the receiver wants to be asked again.
    """

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Outlets(Protocol):
    """Delivers events."""

    async def require_consent(self, url: str) -> None:
        """Ask a webhook whether it wants events (CloudEvents, HTTP webhook §4).

        Raises
        ------
        NotDelivered
            It does not say that it does.
        """
        ...

    async def socket_address(self, user: str) -> str:
        """Where a user of Web PubSub may open a socket.

        Raises
        ------
        NotDelivered
            There is no answer.
        """
        ...

    async def send(
        self, subscription: Subscription, body: bytes, headers: Mapping[str, str]
    ) -> None:
        """Deliver a batch of events to a subscription's endpoint.

        Raises
        ------
        NotDelivered
            It was not taken.
        """
        ...
