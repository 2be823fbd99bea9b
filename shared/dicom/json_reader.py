"""From the DICOM JSON model to an encoded data set: Explicit VR Little Endian (PS3.18 Annex F).

Values that stand elsewhere (``BulkDataURI``) are given back as ``BulkValue`` in their place, so
that whoever has them writes them. Sequences and items have no length, so nothing has to be known
ahead.
Strict: what does not fit its VR is a fault that names its tag, never a guess.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.dicom import tags
from shared.dicom.json_model import BULK_VRS, ONE_VALUE_VRS, STRING_VRS

UTF_8: Final = "ISO_IR 192"

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}").fullmatch
_LONG: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_NUMBERS: Final = {
    "US": "<H", "SS": "<h", "UL": "<I", "SL": "<i", "UV": "<Q", "SV": "<q", "FL": "<f", "FD": "<d",
}  # fmt: skip
_VRS: Final = STRING_VRS | _LONG | frozenset(_NUMBERS) | {"AT"}
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_LONGEST_DS: Final = 16
_MOST_SHORT: Final = 0xFFFE
_MOST_LONG: Final = 0xFFFFFFFE
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
_ITEM_END: Final = b"\xfe\xff\x0d\xe0\0\0\0\0"
_SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"


class JsonFault(Exception):
    """A data set in JSON that cannot be encoded.

    Parameters
    ----------
    tag : int or None
        The element at fault, where there is one.
    text : str
        What is wrong with it; never its value.
    """

    def __init__(self, tag: int | None, text: str) -> None:
        super().__init__(text)
        self.tag = tag
        self.text = text


@dataclass(frozen=True, slots=True)
class BulkValue:
    """An element whose value stands elsewhere.

    Parameters
    ----------
    tag : int
        The element.
    vr : str
        Its VR.
    uri : str
        Its ``BulkDataURI``.
    depth : int
        0 at the top level.
    """

    tag: int
    vr: str
    uri: str
    depth: int


def encoded(data_set: Mapping[str, Any], *, most_levels: int) -> Iterator[bytes | BulkValue]:
    """The data set in Explicit VR Little Endian, piece by piece in the order of tags.

    File meta information, group lengths and padding are left out. Text is UTF-8, and the data
    set says so if it has letters beyond ASCII.

    Parameters
    ----------
    data_set : Mapping[str, Any]
        In the DICOM JSON model.
    most_levels : int
        How deep sequences may be nested.

    Raises
    ------
    JsonFault
        It breaks the model, or a value does not fit its VR.

    References
    ----------
    PS3.18 F.2, PS3.5 7.1.2.
    """
    try:
        is_ascii = json.dumps(data_set, ensure_ascii=False).isascii()
    except RecursionError:
        raise JsonFault(None, f"sequences are nested more than {most_levels} deep") from None
    charset = {} if is_ascii else {"00080005": {"vr": "CS", "Value": [UTF_8]}}
    yield from _data_set({**data_set, **charset}, 0, most_levels, drops_charset=not is_ascii)


def head(tag: int, vr: str, length: int) -> bytes:
    """The beginning of an element, before its value of ``length`` bytes.

    Raises
    ------
    JsonFault
        The VR has no room for so long a value.
    """
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    if vr in _LONG:
        if length > _MOST_LONG and length != _UNDEFINED:
            raise JsonFault(tag, "the value is longer than DICOM allows")
        return start + b"\0\0" + struct.pack("<I", length)
    if length > _MOST_SHORT:
        raise JsonFault(tag, f"the value is longer than the VR {vr} allows")
    return start + struct.pack("<H", length)


def element(tag: int, vr: str, value: bytes) -> bytes:
    """An element with its value, padded to even length."""
    if len(value) % 2:
        value += b" " if vr in STRING_VRS and vr != "UI" else b"\0"
    return head(tag, vr, len(value)) + value


def content(tag: int, member: Any) -> tuple[str, bytes | str | list[Any]]:
    """VR and content of an element: its bytes, its ``BulkDataURI``, or its items.

    Raises
    ------
    JsonFault
        It breaks the model, or a value does not fit its VR.
    """
    if not isinstance(member, dict):
        raise JsonFault(tag, "the element is no object")
    vr = member.get("vr") or _dictionary_vr(tag)
    if not isinstance(vr, str) or vr not in _VRS:
        raise JsonFault(tag, "the VR is none")
    given = [
        name for name in ("Value", "InlineBinary", "BulkDataURI") if member.get(name) is not None
    ]
    if len(given) > 1:
        raise JsonFault(tag, f"the element has {given[0]} and {given[1]}")
    if given == ["InlineBinary"] and vr != "SQ":
        return vr, _inline(tag, member["InlineBinary"])
    if given == ["BulkDataURI"] and vr != "SQ" and isinstance(member["BulkDataURI"], str):
        return vr, member["BulkDataURI"]
    values = member["Value"] if given == ["Value"] else []
    if not isinstance(values, list) or (given and given != ["Value"]):
        raise JsonFault(tag, f"{given[0]} is not what an element of VR {vr} has")
    return vr, values if vr == "SQ" else _value(tag, vr, values)


def texts_of(tag: int, vr: str, values: Any) -> list[str]:
    """The values of an element of a string VR as texts; none for an empty one.

    Raises
    ------
    JsonFault
        They are not what an element of that VR has.
    """
    if values is None:
        return []
    if not isinstance(values, list):
        raise JsonFault(tag, "Value is no array")
    convert = _TEXTS.get(vr, _text)
    texts = ["" if value is None else convert(tag, value) for value in values]
    return texts if any(texts) else []


def text_of(data_set: Mapping[str, Any], tag: int) -> str | None:
    """The only text value of a top-level element, if it has one."""
    value = _only(data_set, tag)
    return value if isinstance(value, str) else None


def number_of(data_set: Mapping[str, Any], tag: int) -> int | None:
    """The only value of a top-level element, if it is a whole number."""
    value = _only(data_set, tag)
    if isinstance(value, str) and re.fullmatch(r"\s*\+?[0-9]{1,9}\s*", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _only(data_set: Mapping[str, Any], tag: int) -> Any:
    found = data_set.get(tags.key(tag))
    values = found.get("Value") if isinstance(found, dict) else None
    return values[0] if isinstance(values, list) and len(values) == 1 else None


def _data_set(
    data_set: Mapping[str, Any], depth: int, most_levels: int, *, drops_charset: bool
) -> Iterator[bytes | BulkValue]:
    found: dict[int, Any] = {}
    for name, member in data_set.items():
        if _TAG(name) is None:
            raise JsonFault(None, "a member of the data set is no tag of eight hexadecimal digits")
        tag = int(name, 16)
        if tag in found:
            raise JsonFault(tag, "the element is there twice")
        found[tag] = member
    for tag in sorted(found):
        if not tag & 0xFFFF or tag >> 16 <= 2 or tag >= tags.DATA_SET_TRAILING_PADDING:
            continue
        if tag == tags.SPECIFIC_CHARACTER_SET and depth and drops_charset:
            continue
        yield from _element(tag, found[tag], depth, most_levels, drops_charset=drops_charset)


def _element(
    tag: int, member: Any, depth: int, most_levels: int, *, drops_charset: bool
) -> Iterator[bytes | BulkValue]:
    vr, found = content(tag, member)
    if isinstance(found, str):
        yield BulkValue(tag, vr, found, depth)
    elif isinstance(found, bytes):
        yield element(tag, vr, found)
    else:
        if depth >= most_levels:
            raise JsonFault(tag, f"sequences are nested more than {most_levels} deep")
        yield head(tag, vr, _UNDEFINED)
        for item in found:
            if not isinstance(item or {}, dict):
                raise JsonFault(tag, "an item is no object")
            yield _ITEM
            yield from _data_set(item or {}, depth + 1, most_levels, drops_charset=drops_charset)
            yield _ITEM_END
        yield _SEQUENCE_END


def _dictionary_vr(tag: int) -> str | None:
    known = tags.entry(tag)
    if known is None:
        return "LO" if tags.is_private_creator(tag) else None
    return known.vr if " " not in known.vr else None


def _inline(tag: int, inline: Any) -> bytes:
    try:
        return base64.b64decode(inline, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise JsonFault(tag, "InlineBinary is no base64") from None


def _value(tag: int, vr: str, values: list[Any]) -> bytes:
    if not values:
        return b""
    if vr in BULK_VRS:
        raise JsonFault(tag, f"an element of VR {vr} has InlineBinary or BulkDataURI, not Value")
    if vr in STRING_VRS:
        if vr in ONE_VALUE_VRS and len(values) > 1:
            raise JsonFault(tag, f"an element of VR {vr} has one value")
        convert = _TEXTS.get(vr, _text)
        texts = ["" if value is None else convert(tag, value) for value in values]
        try:
            return "\\".join(texts).encode()
        except UnicodeEncodeError:
            raise JsonFault(tag, "a value is no Unicode text") from None
    return b"".join(_binary(tag, vr, value) for value in values)


def _text(tag: int, value: Any) -> str:
    if not isinstance(value, str):
        raise JsonFault(tag, "a value is no text")
    return value


def _name(tag: int, value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise JsonFault(tag, "a value is no person name")
    groups = [_text(tag, value.get(name) or "") for name in _GROUPS]
    return "=".join(groups).rstrip("=")


def _number_text(tag: int, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise JsonFault(tag, "a value is no number")
    if isinstance(value, float) and not math.isfinite(value):  # an integer may be beyond floats
        raise JsonFault(tag, "a value is no number")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = repr(value)
    digits = 16
    while len(text) > _LONGEST_DS and isinstance(value, float) and digits > 1:
        digits -= 1  # DS has 16 characters: the nearest number that they can say
        text = f"{value:.{digits}g}"
    return text


def _integer_text(tag: int, value: Any) -> str:
    text = _number_text(tag, value)
    if not isinstance(value, str) and not re.fullmatch(r"-?[0-9]+", text):
        raise JsonFault(tag, "a value is no whole number")
    return text


_TEXTS: Final[Mapping[str, Callable[[int, Any], str]]] = {
    "PN": _name, "DS": _number_text, "IS": _integer_text,
}  # fmt: skip


def _binary(tag: int, vr: str, value: Any) -> bytes:
    if vr == "AT":
        if not isinstance(value, str) or _TAG(value) is None:
            raise JsonFault(tag, "a value is no tag")
        return struct.pack("<HH", int(value[:4], 16), int(value[4:], 16))
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value) if vr in ("FL", "FD") else _whole(value)
        return struct.pack(_NUMBERS[vr], number)
    except (TypeError, ValueError, OverflowError, struct.error):
        raise JsonFault(tag, f"a value is no number that the VR {vr} can have") from None


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)
