"""What callers ask of subscriptions, judged."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from shared.errors import MalformedRequest
from shared.export.addresses import AllowedHosts
from shared.fanout.models import ACTIONS, Origin, State, Subscription, Type
from shared.index.partitions import DEFAULT
from shared.ports import JsonObject
from shared.worklist.mailboxes import ae_title

_QUEUE: Final = re.compile(r"events-[a-z0-9](?:-?[a-z0-9]){0,50}")
_PARTITION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECRET: Final = re.compile(r"[\x21-\x7e]{16,128}")
_MEMBERS: Final = frozenset(
    {"type", "endpoint", "source", "aeTitle", "actions", "partitions", "afterSequence", "secret"}
)
_MOST_PARTITIONS: Final = 50
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def subscription_of(
    body: JsonObject, hosts: AllowedHosts, *, has_topic: bool, has_key: bool
) -> tuple[Subscription, int | None, str | None]:
    """A subscription as it was asked for, the entry after which it begins, and its secret.

    Raises
    ------
    MalformedRequest
        A member is malformed, or what it asks for is not set up; the message names it.
    """
    unknown = sorted(body.keys() - _MEMBERS)
    if unknown:
        raise MalformedRequest(f"The member '{unknown[0][:30]}' is not known.")
    try:
        type_ = Type(str(body.get("type")))
    except ValueError:
        type_ = Type.WEB_PUBSUB
    if type_ is Type.WEB_PUBSUB:  # who opens a socket asks for it
        raise MalformedRequest("type must be webhook, queue or eventGrid.")
    endpoint = body.get("endpoint", "")
    if not isinstance(endpoint, str):
        raise MalformedRequest("endpoint must be a text.")
    _require_endpoint(type_, endpoint, hosts, has_topic=has_topic)
    if type_ is Type.WEBHOOK and not has_key:
        raise MalformedRequest("webhook: the service has no key to keep a secret with.")
    after = body.get("afterSequence")
    if after is not None and (isinstance(after, bool) or not isinstance(after, int) or after < 0):
        raise MalformedRequest("afterSequence must be a whole number from 0.")
    secret = body.get("secret")
    if secret is not None and (
        type_ is not Type.WEBHOOK
        or not isinstance(secret, str)
        or _SECRET.fullmatch(secret) is None
    ):
        raise MalformedRequest("secret is for webhooks: 16 to 128 printable ASCII characters.")
    asked = Subscription("", type_, endpoint, "", _actions(body), _partitions(body))
    return _with_source(asked, body), after, secret


def state_of(value: Any) -> State:
    """A state that a patch sets.

    Raises
    ------
    MalformedRequest
        It is none.
    """
    try:
        return State(str(value))
    except ValueError:
        raise MalformedRequest("state must be active or paused.") from None


def _with_source(asked: Subscription, body: JsonObject) -> Subscription:
    aet = body.get("aeTitle")
    try:
        origin = Origin(str(body.get("source", Origin.FEED)))
    except ValueError:
        raise MalformedRequest("source must be changeFeed or worklist.") from None
    if origin is Origin.FEED:
        if aet is not None:
            raise MalformedRequest("aeTitle is for the source worklist.")
        return asked
    if not isinstance(aet, str):
        raise MalformedRequest("aeTitle is missing: whose event reports?")
    if "actions" in body or len(asked.partitions) > 1:
        raise MalformedRequest(
            "worklist: there are no actions, and an AE is one of a single data partition."
        )
    partitions = asked.partitions or (DEFAULT.folded,)
    return replace(asked, origin=origin, aet=ae_title(aet), partitions=partitions)


def _require_endpoint(type_: Type, endpoint: str, hosts: AllowedHosts, *, has_topic: bool) -> None:
    if type_ is Type.EVENT_GRID:
        if endpoint or not has_topic:
            raise MalformedRequest(
                "eventGrid: the topic is a setting of the service (DICOM_EVENTGRID_ENDPOINT); "
                "endpoint must be left out."
            )
    elif type_ is Type.QUEUE:
        if _QUEUE.fullmatch(endpoint) is None:
            raise MalformedRequest("endpoint: the name of a queue must begin with 'events-'.")
    else:
        _require_webhook(endpoint, hosts)


def _require_webhook(endpoint: str, hosts: AllowedHosts) -> None:
    wrong = MalformedRequest("endpoint must be an https address without user, query or fragment.")
    if len(endpoint) > 2048 or not endpoint.isascii() or not endpoint.isprintable():
        raise wrong
    try:
        parts = urlsplit(endpoint)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise wrong from None
    if not host or parts.username is not None or parts.query or parts.fragment or " " in endpoint:
        raise wrong
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise wrong
    if not hosts.allows(host, port):
        raise MalformedRequest(
            "endpoint: the service is not set up to send events there (DICOM_WEBHOOK_HOSTS)."
        )


def _actions(body: JsonObject) -> tuple[str, ...]:
    found = body.get("actions", [])
    if not isinstance(found, list) or any(each not in ACTIONS for each in found):
        raise MalformedRequest(f"actions must be an array of {', '.join(ACTIONS)}.")
    return tuple(dict.fromkeys(found))


def _partitions(body: JsonObject) -> tuple[str, ...]:
    found = body.get("partitions", [])
    if (
        not isinstance(found, list)
        or len(found) > _MOST_PARTITIONS
        or any(not isinstance(one, str) or _PARTITION.fullmatch(one) is None for one in found)
    ):
        raise MalformedRequest(
            f"partitions must be an array of at most {_MOST_PARTITIONS} names of data partitions."
        )
    return tuple(dict.fromkeys(one.lower() for one in found))
