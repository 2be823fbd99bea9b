"""What reading one Part 10 file yields: the facts that the index and later retrievals need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

JsonElement: TypeAlias = dict[str, Any]
"""One attribute of the DICOM JSON model: ``{"vr": …, "Value": […]}`` (PS3.18 F.2.2)."""


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The UIDs that name an instance, as in the file less trailing NULs.

    Trailing spaces are kept; ``shared.dicom.uid.normalised`` gives the form to compare by. A UID
    that the data set lacks is ``None``; an empty one is ``""``.
    """

    sop_class_uid: str | None
    sop_instance_uid: str | None
    study_instance_uid: str | None
    series_instance_uid: str | None


@dataclass(frozen=True, slots=True)
class MetadataChunk:
    """One instance's DICOM JSON, compressed so that chunks can stand one after the other.

    ``deflated`` is raw deflate ended by a full flush (no final block); ``size`` and ``crc32``
    are those of the JSON text (UTF-8 bytes). See architecture §7.
    """

    deflated: bytes
    size: int
    crc32: int


class Checker(Protocol):
    """Looks at each element of a data set as it is read (spec §2.8)."""

    def element(self, tag: int, vr: str, values: list[str] | None, length: int, depth: int) -> bool:
        """Take note of one element that is no sequence.

        Parameters
        ----------
        tag : int
            ``(group << 16) | element``.
        vr : str
            VR in the file; for implicit VR the dictionary's, ``UN`` where it has none.
        values : list of str or None
            Decoded values of a string VR (AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT),
            split at the backslash where the VR allows several, each without trailing spaces
            (UI: without trailing NULs instead); other NULs kept. Empty: ``[]``. ``None`` for
            binary VRs, and for text too long to be kept in memory.
        length : int
            Length of the value, in bytes.
        depth : int
            0 for the data set itself, 1 inside a sequence item, and so on.

        Returns
        -------
        bool
            ``False``: the top-level element that this one is, or is part of, is left out of
            metadata and index.
        """
        ...


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """Everything learnt from one pass over a Part 10 file.

    Parameters
    ----------
    identifiers : Identifiers
        The four UIDs.
    transfer_syntax_uid : str
        From (0002,0010).
    attributes : dict[str, JsonElement]
        Of the wanted top-level attributes those that are present and were not left out, by tag
        (eight upper-case hexadecimal digits).
    metadata : MetadataChunk
        The DICOM JSON of the data set.
    bulk : dict[str, tuple[int, int]]
        Bulk values that the metadata names by ``BulkDataURI``: path → (offset, length) in bytes
        of the *dataset as read*: of the file, or for a deflated transfer syntax of the inflated
        data set (whose first byte is 0). Path: ``7FE00010``, or ``54000100.2.54001010`` for an
        element in item 2 (from 1) of a sequence. Encapsulated pixel data is in ``frames`` only.
    frames : dict or None
        ``FrameTable.to_json()`` of ``shared.dicom.frames``; ``None`` without pixel data.
    size : int
        Bytes read.
    """

    identifiers: Identifiers
    transfer_syntax_uid: str
    attributes: dict[str, JsonElement]
    metadata: MetadataChunk
    bulk: dict[str, tuple[int, int]] = field(default_factory=dict)
    frames: dict[str, Any] | None = None
    size: int = 0
