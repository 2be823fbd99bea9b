"""Every error that the service raises on purpose, as causes; none knows a status code.

``shared.web.problem`` holds the one table from cause to HTTP status.

::

    DicomServiceError
    ├── BadRequest                  what was asked
    │   ├── MalformedRequest        framing, headers, body
    │   ├── RequestTooSlow          its body did not arrive in time
    │   ├── MalformedQuery          search parameters; names the parameter
    │   ├── InvalidUid              a UID in the path
    │   ├── InvalidFrameList        frame numbers in the path
    │   ├── InvalidPartitionName
    │   ├── DestinationUnusable     where files are to go to cannot be used
    │   ├── UnknownPartition        named, and not created by this transaction
    │   └── UnsupportedApiVersion   a number, but none that we speak
    ├── AccessDenied                who asks
    │   ├── NotAuthenticated
    │   └── NotAllowed
    ├── NotFound                    what is there
    │   ├── TenantNotFound          unknown, or not for this caller: they look the same
    │   ├── RouteNotFound           the path names no resource
    │   ├── StudyNotFound, SeriesNotFound, InstanceNotFound, FrameNotFound, BulkDataNotFound
    │   ├── Purged                  it was there; it is gone for good
    │   ├── OperationNotFound       unknown or forgotten
    │   ├── FhirNotConfigured       the service has no FHIR server
    │   └── BlobNotFound            from the Blobs port
    ├── DoesNotFit                  what fits
    │   ├── NotAcceptable           no offered type satisfies Accept
    │   │   └── UnusablePixelData   it cannot be decoded or encoded
    │   ├── UnsupportedMediaType    the body's type
    │   ├── PayloadTooLarge         names the limit
    │   └── RangeNotSatisfiable
    ├── StateConflict               state
    │   ├── AlreadyStored           the key or identity exists; nothing was changed
    │   ├── OperationRefused        one operation of an atomic commit could not be applied
    │   ├── OperationRunning        one of which there is only one at a time
    │   ├── WrongState              it is not in a state that allows it
    │   └── PreconditionFailed
    ├── InstanceRefused             one instance of a store, with its failure reason
    │   └── NotDicom                the bytes are not a complete Part 10 file
    └── ServiceTrouble              us
        ├── Throttled               always with a time to wait
        ├── Unavailable             always with a time to wait
        ├── DestinationTrouble      one call to where files go to failed
        └── CorruptData             what is stored cannot be what was stored
"""

from __future__ import annotations

from enum import Enum


class DicomServiceError(Exception):
    """Base of all errors raised on purpose. The message is for the client: no patient data."""


# What was asked ---------------------------------------------------------------------------


class BadRequest(DicomServiceError):
    """The request itself is wrong."""


class MalformedRequest(BadRequest):
    """Framing, a header or the body cannot be understood."""


class RequestTooSlow(BadRequest):
    """The body did not arrive in the time that a request may take."""


class MalformedQuery(BadRequest):
    """A search parameter is unknown, malformed or given twice; the message names it."""


class InvalidUid(BadRequest):
    """A UID in the path breaks the syntax of PS3.5 9.1."""


class InvalidFrameList(BadRequest):
    """A frame list is not one of integers from 1."""


class InvalidPartitionName(BadRequest):
    """A partition name breaks the rule 1–64 of ``A-Z a-z 0-9 . - _``."""


class UnknownPartition(BadRequest):
    """The named partition does not exist and this transaction does not create it."""


class DestinationUnusable(BadRequest):
    """Where files are to go to cannot be used: absent, not allowed, not to be entered."""


class UnsupportedApiVersion(BadRequest):
    """The version segment is a version, but not one that we speak.

    Parameters
    ----------
    uri : str
        Scheme, host and path of the request, without query.
    version : str
        The version segment without its ``v``.
    """

    def __init__(self, uri: str, version: str) -> None:
        super().__init__(
            f"The HTTP resource that matches the request URI '{uri}' "
            f"does not support the API version '{version}'."
        )
        self.uri = uri
        self.version = version


# Who asks ---------------------------------------------------------------------------------


class AccessDenied(DicomServiceError):
    """The caller may not do this."""


class NotAuthenticated(AccessDenied):
    """No valid token.

    Parameters
    ----------
    message : str
        What is wrong, as far as that helps an honest client.
    challenge : str
        ``WWW-Authenticate``: where to get a token.
    """

    def __init__(self, message: str, challenge: str = "Bearer") -> None:
        super().__init__(message)
        self.challenge = challenge


class NotAllowed(AccessDenied):
    """The caller's roles lack the action."""


# What is there ----------------------------------------------------------------------------


class NotFound(DicomServiceError):
    """The addressed thing does not exist."""


class TenantNotFound(NotFound):
    """Unknown tenant, or one that this caller may not see."""


class RouteNotFound(NotFound):
    """The path names no resource."""


class StudyNotFound(NotFound):
    """No such study."""


class SeriesNotFound(NotFound):
    """No such series."""


class InstanceNotFound(NotFound):
    """No such instance."""


class FrameNotFound(NotFound):
    """The instance has no such frame, or no pixel data."""


class BulkDataNotFound(NotFound):
    """The instance has no such bulk data."""


class Purged(NotFound):
    """It was there, and is gone for good: its retention time is over."""


class OperationNotFound(NotFound):
    """No such operation, or it is forgotten."""


class FhirNotConfigured(NotFound):
    """No FHIR server is set for this service."""


class BlobNotFound(NotFound):
    """No blob under that key."""


# What fits --------------------------------------------------------------------------------


class DoesNotFit(DicomServiceError):
    """Size or type is outside what the service takes or gives."""


class NotAcceptable(DoesNotFit):
    """Nothing that we can send satisfies ``Accept``."""


class UnusablePixelData(NotAcceptable):
    """The pixel data as stored cannot be turned into what was asked for: it is malformed."""


class UnsupportedMediaType(DoesNotFit):
    """The body's media type is not one that we take."""


class PayloadTooLarge(DoesNotFit):
    """A limit was passed; the message states it."""


class RangeNotSatisfiable(DoesNotFit):
    """The byte range lies outside the content.

    Parameters
    ----------
    size : int
        Length of the content, in bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"The range lies outside the content of {size} bytes.")
        self.size = size


# State ------------------------------------------------------------------------------------


class StateConflict(DicomServiceError):
    """The stored state does not allow it."""


class AlreadyStored(StateConflict):
    """The key or identity exists; nothing was changed."""


class Refusal(Enum):
    """Why an operation of an atomic commit could not be applied."""

    EXISTS = "exists"
    MISSING = "missing"
    CHANGED = "changed"


class OperationRefused(StateConflict):
    """One operation of an atomic commit could not be applied, so none was.

    Parameters
    ----------
    index : int
        Position of the operation in the commit, from 0. Where several would fail, the first.
    refusal : Refusal
        ``EXISTS``: create of an id that is there. ``MISSING``: replace, patch or delete of one
        that is not. ``CHANGED``: the ETag or the condition does not hold.
    """

    def __init__(self, index: int, refusal: Refusal) -> None:
        super().__init__(f"operation {index} of the commit refused: {refusal.value}")
        self.index = index
        self.refusal = refusal


class OperationRunning(StateConflict):
    """An operation runs of which there is only one at a time.

    Parameters
    ----------
    operation : str
        Its id.
    """

    def __init__(self, operation: str) -> None:
        super().__init__(f"Operation {operation} is still running. Try again when it has ended.")
        self.operation = operation


class WrongState(StateConflict):
    """The thing is not in a state that allows it."""


class PreconditionFailed(StateConflict):
    """``If-Match`` does not hold."""


# One instance of a store ------------------------------------------------------------------


class InstanceRefused(DicomServiceError):
    """One instance of a store is refused; the others go on.

    Parameters
    ----------
    reason : int
        FailureReason (0008,1197) of the store response, PS3.18 Table I.2-2.
    message : str
        Why, without patient data.
    """

    def __init__(self, reason: int, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotDicom(InstanceRefused):
    """The bytes are not a complete DICOM Part 10 file, or break the limits for one."""

    def __init__(self, message: str) -> None:
        super().__init__(43264, message)


# Us ---------------------------------------------------------------------------------------


class ServiceTrouble(DicomServiceError):
    """The service cannot do it, through no fault of the request."""


class Throttled(ServiceTrouble):
    """A store asks us to slow down.

    Parameters
    ----------
    retry_after_s : float
        Seconds to wait.
    """

    def __init__(self, retry_after_s: float = 1.0) -> None:
        super().__init__("The service is busy. Try again later.")
        self.retry_after_s = retry_after_s


class Unavailable(ServiceTrouble):
    """A store does not answer.

    Parameters
    ----------
    retry_after_s : float
        Seconds to wait.
    """

    def __init__(self, retry_after_s: float = 5.0) -> None:
        super().__init__("A data store is unavailable. Try again later.")
        self.retry_after_s = retry_after_s


class DestinationTrouble(ServiceTrouble):
    """One call to where files are to go to failed; another may not."""


class CorruptData(ServiceTrouble):
    """Stored data contradicts its index, or a frame cannot be decoded."""
