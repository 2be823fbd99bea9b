"""What a store comes to: one row for each instance of the request."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.dicom.instance import Identifiers
from shared.index.shapes import InstanceKey

PROCESSING_FAILURE = 0x0110
CANNOT_UNDERSTAND = 0xA900
ALREADY_STORED = 0xB00E
WARNING_IMPLICIT_VR = 0xB007
WARNING_VALIDATION = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is stored, found by search, and safe.

    Parameters
    ----------
    key : InstanceKey
        Its identity.
    identifiers : Identifiers
        The UIDs as in the file.
    warning : int or None
        WarningReason (0008,1196).
    comments : list of str
        ErrorComments of its warnings.
    """

    key: InstanceKey
    identifiers: Identifiers
    warning: int | None = None
    comments: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refused:
    """An instance that is not stored; nothing of it is left.

    Parameters
    ----------
    reason : int
        FailureReason (0008,1197), spec dicomweb.md §2.10.
    identifiers : Identifiers or None
        The UIDs, where the file could be read so far.
    comments : list of str or None
        ErrorComments of its faults; ``None`` where the reason says it all.
    """

    reason: int
    identifiers: Identifiers | None = None
    comments: list[str] | None = None


@dataclass(frozen=True, slots=True)
class StoreResult:
    """All rows, in the order of the request.

    ``several_values`` says that an attribute of which the index takes the first value only had
    several (spec §2.9).
    """

    rows: list[Stored | Refused]
    several_values: bool = False

    @property
    def stored(self) -> list[Stored]:
        """The rows that are stored."""
        return [row for row in self.rows if isinstance(row, Stored)]

    @property
    def refused(self) -> list[Refused]:
        """The rows that are not."""
        return [row for row in self.rows if isinstance(row, Refused)]
