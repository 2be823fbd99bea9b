"""The answer to a store: status and response data set.

References
----------
PS3.18 10.5.3, Annex I; spec dicomweb.md §2.11, §2.12.
"""

from __future__ import annotations

from shared.dicom.instance import Identifiers
from shared.ports import JsonObject
from shared.store.models import Refused, Stored, StoreResult


def store_status(result: StoreResult, major: int) -> int:
    """200, 202, 204 or 409.

    Version 1 answers 200 for instances that are stored with a warning, version 2 answers 202.
    """
    if not result.rows:
        return 204
    if not result.stored:
        return 409
    warned = major >= 2 and any(row.warning is not None for row in result.stored)
    return 202 if result.refused or warned else 200


def store_response(
    result: StoreResult, *, major: int, base_url: str, study: str | None
) -> JsonObject:
    """The response data set.

    Parameters
    ----------
    result : StoreResult
        What became of each instance.
    major : int
        Version 2 lists warnings, also where there are none.
    base_url : str
        Absolute address of the partition's resources.
    study : str or None
        The study that the request was for, if it was for one.
    """
    answer: JsonObject = {}
    if study is not None and result.stored:
        answer["00081190"] = _element("UR", f"{base_url}/studies/{study}")
    if result.refused:
        answer["00081198"] = {"vr": "SQ", "Value": [_failed(row) for row in result.refused]}
    if result.stored:
        answer["00081199"] = {
            "vr": "SQ",
            "Value": [_referenced(row, major, base_url) for row in result.stored],
        }
    return answer


def _failed(row: Refused) -> JsonObject:
    item = _references(row.identifiers)
    item["00081197"] = _element("US", row.reason)
    if row.comments is not None:
        item["00741048"] = _comments(row.comments)
    return item


def _referenced(row: Stored, major: int, base_url: str) -> JsonObject:
    key = row.key
    address = f"{base_url}/studies/{key.study}/series/{key.series}/instances/{key.instance}"
    item = _references(row.identifiers)
    item["00081190"] = _element("UR", address)
    if row.warning is not None:
        item["00081196"] = _element("US", row.warning)
    if major >= 2:
        item["00741048"] = _comments(row.comments)
    return item


def _references(identifiers: Identifiers | None) -> JsonObject:
    item: JsonObject = {}
    if identifiers is not None and identifiers.sop_class_uid:
        item["00081150"] = _element("UI", identifiers.sop_class_uid)
    if identifiers is not None and identifiers.sop_instance_uid:
        item["00081155"] = _element("UI", identifiers.sop_instance_uid)
    return item


def _comments(texts: list[str]) -> JsonObject:
    items = [{"00000902": _element("LO", text)} for text in texts]
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _element(vr: str, value: str | int) -> JsonObject:
    return {"vr": vr, "Value": [value]}
