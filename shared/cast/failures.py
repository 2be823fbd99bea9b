"""Why a study could not be taken over, by kind, and the rows that tell of it.

References
----------
Spec dicomcast.md §7, §9, §10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

MOST_CAUSE = 32 * 1024
"""Most characters of a cause: what a table's column holds."""


class CastTrouble(Exception):
    """Base. The text is kept in a row, which operators read: no values of patients."""


class Conflict(CastTrouble):
    """Somebody else was faster (412, 409, a conditional create that found one): again at once."""


class Away(CastTrouble):
    """The FHIR server does not answer, is busy, or does not let us in: again later.

    Parameters
    ----------
    cause : str
        What happened.
    retry_after_s : float or None
        Seconds that the server asked for.
    """

    def __init__(self, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_s = retry_after_s


class Refused(CastTrouble):
    """The FHIR server refuses what we send, or has what we cannot work with: again in vain."""


FailureKind = Literal["refused", "skipped", "fhir", "waiting", "defect"]
"""An instance is refused; an element of it skipped; FHIR refuses the study; the study waits for
FHIR; or we cannot work on it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One row.

    Parameters
    ----------
    partition, study : str
        Whose.
    kind : str
        See ``FailureKind``.
    cause : str
        Why; at most ``MOST_CAUSE`` characters are kept.
    series, instance : str
        UIDs; "" if it is about the whole study.
    sequence : int
        Of the change that was last announced of the study; 0 if it was none.
    since : str
        UTC: when it was first seen.
    """

    partition: str
    study: str
    kind: FailureKind
    cause: str
    series: str = ""
    instance: str = ""
    sequence: int = 0
    since: str = ""


class Failures(Protocol):
    """The rows of one tenant."""

    async def put(self, partition: str, study: str, rows: Sequence[Failure]) -> None:
        """Let these be the rows of a study; those there that are the same keep their time.

        Raises
        ------
        Throttled, Unavailable
            The store does not take it.
        """
        ...

    async def page(self, *, limit: int, after: str | None = None) -> tuple[list[Failure], str]:
        """Rows, by study; and what to give as ``after`` for the next page, "" if there is none."""
        ...

    async def of_study(self, partition: str, study: str) -> list[Failure]:
        """The rows of a study."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
