"""The documents of the ``index`` container (architecture §5): names of members, ids, partitions.

::

    study     id study|{study}            one per study and data partition
    series    id series|{series}
    instance  id instance|{series}|{instance}
    outbox    id outbox|{version}         what the sequencer has yet to announce
    behind    id behind|{version}         a study was committed to by an old list of extended query
                                          tags; it has to be indexed by those that came since
    tombstone id tombstone|{version}      files of a deleted instance, until they are purged
    prepared  id prepared|{operation}|{series}|{instance}   the version of an instance that a bulk
                                          update is about to put in its place (``shared.update``)

Members of study, series and instance documents:

``pk``         partition key, ``{partition}|{study}``
``type``       ``study``, ``series`` or ``instance``
``partition``  data partition, in lower case
``study``, ``series``, ``instance``   UIDs without padding, down to the document's level
``version``    19 digits; of the instance, or of the instance that made the study or series.
               Searches sort by it, newest first
``q``          search terms by tag path (``shared.index.terms``): those of the study, then those
               of the series, then those of the instance, down to the document's level
``d``          the DICOM JSON that search returns, likewise down to the document's level

Members of study and series only:

``own``            search terms of this level only, ``q`` less what is above
``termsVersion``   counts the changes of ``q``, so that writers see each other
``revision``       counts the changes of anything below, for the ETag
``due``            of a study that expires: when (spec dicomweb.md §2.1)
``instanceCount``, ``seriesCount`` (study only)
``compacted``      series only: where the metadata of all its instances is in one segment, and of
                   which ``revision`` (``shared.index.compaction``)

Members of instance only:

``blob``            key of the file
``size``            bytes of the file
``sha256``          of the file, hexadecimal
``transferSyntax``  UID
``sopClass``        UID
``uids``            the identifiers exactly as in the file, where they differ from the path's
``metadata``        where the metadata chunk is (``shared.index.metadata``)
``frames``, ``bulk``   byte ranges (``shared.dicom.frames``), or where they are kept if large
``leftOut``         tags of attributes that ``d`` lacks because their values are invalid
``original``        of an instance that was updated: ``version`` and the members above, from
                    ``blob`` on, of the version that was stored
``originalVersion`` its version again, for searches
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.ports import JsonObject

STUDY = "study"
SERIES = "series"
INSTANCES = "instances/"
"""Where the files of instances are, in a tenant's container."""

INSTANCE = "instance"
OUTBOX = "outbox"
BEHIND = "behind"
TOMBSTONE = "tombstone"
PREPARED = "prepared"

DEFAULT_PARTITION = "Microsoft.Default"


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """Identity of an instance within a tenant. UIDs are normalised; partition as first spelled."""

    partition: str
    study: str
    series: str
    instance: str

    @property
    def pk(self) -> str:
        """Partition key of the index documents of its study."""
        return partition_key(self.partition, self.study)

    @property
    def document_id(self) -> str:
        """Id of the instance document."""
        return instance_id(self.series, self.instance)

    def blob(self, version: str) -> str:
        """Key of the blob that holds a version's file."""
        return (
            f"{INSTANCES}{self.partition}/{self.study}/{self.series}/{self.instance}/{version}.dcm"
        )


def partition_key(partition: str, study: str) -> str:
    """Partition key of the documents of a study in a data partition."""
    return f"{partition.lower()}|{study}"


def study_id(study: str) -> str:
    """Id of a study document."""
    return f"study|{study}"


def series_id(series: str) -> str:
    """Id of a series document."""
    return f"series|{series}"


def instance_id(series: str, instance: str) -> str:
    """Id of an instance document."""
    return f"instance|{series}|{instance}"


LEFT_OUT = "leftOut"
ORIGINAL = "original"
ORIGINAL_VERSION = "originalVersion"
OF_A_FILE = (
    "version", "blob", "size", "sha256", "transferSyntax", "sopClass", "uids", "metadata",
    "frames", "bulk", "ranges",
)  # fmt: skip
"""The members of an instance document that tell of its file."""


def versions_of(body: JsonObject) -> list[str]:
    """The versions of an instance whose files are kept: that of now, and the original."""
    original = body.get(ORIGINAL_VERSION)
    return [body["version"]] if original is None else [body["version"], original]


def files_of(body: JsonObject) -> list[JsonObject]:
    """What an instance document tells of each file that it has: of now, and the original."""
    return [body] if ORIGINAL not in body else [body, body[ORIGINAL]]


def original_of(body: JsonObject) -> JsonObject:
    """The members of an instance document by which a newer version remembers its original."""
    found = body.get(ORIGINAL) or {name: body[name] for name in OF_A_FILE if name in body}
    return {ORIGINAL: found, ORIGINAL_VERSION: found["version"]}


def instance_key(body: JsonObject, partition: str) -> InstanceKey:
    """Identity of an instance document; ``partition`` as first spelled."""
    return InstanceKey(partition, body["study"], body["series"], body["instance"])


def parse_blob_key(key: str) -> tuple[InstanceKey, str] | None:
    """Identity and version from the key of an instance's blob, or ``None`` for another blob."""
    parts = key.split("/")
    if len(parts) != 6 or parts[0] != "instances" or not parts[5].endswith(".dcm"):
        return None
    return InstanceKey(*parts[1:5]), parts[5].removesuffix(".dcm")
