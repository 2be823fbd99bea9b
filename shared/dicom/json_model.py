"""Values in the DICOM JSON model, straight from their bytes (PS3.18 Annex F).

pydicom's own writer cannot be used: it emits bare ``-Infinity`` and empty name groups (measured).
Each function gives the text of an element's members behind ``{"vr":"XX"``, without building
objects in between, since a large header has hundreds of thousands of elements.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Final

from shared.dicom.text import CharacterSet, decode

quote: Callable[[str], str] = encode_basestring
"""A text as a JSON string, non-ASCII letters as they are."""

STRING_VRS: Final = frozenset(
    [
        "AE",
        "AS",
        "CS",
        "DA",
        "DS",
        "DT",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "ST",
        "TM",
        "UC",
        "UI",
        "UR",
        "UT",
    ]
)
ONE_VALUE_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})
"""String VRs in which the backslash is an ordinary character (PS3.5 6.4)."""

BULK_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_CHARSET_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_NUMBER_TEXT: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_GROUP_NAMES: Final = ("Alphabetic", "Ideographic", "Phonetic")
_BINARY: Final = {
    "SS": ("h", 2),
    "US": ("H", 2),
    "SL": ("i", 4),
    "UL": ("I", 4),
    "SV": ("q", 8),
    "UV": ("Q", 8),
    "FL": ("f", 4),
    "FD": ("d", 8),
}
_WORD_SIZES: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def string_values(raw: bytes, vr: str, charset: CharacterSet) -> list[str]:
    """The values of a string VR, each without padding; see ``Checker.element``."""
    text = decode(raw, charset, vr) if vr in _CHARSET_VRS else raw.decode("latin_1")
    if vr == "UI":
        text = text.rstrip("\0")
        return text.split("\\") if text else []
    if vr in ONE_VALUE_VRS or "\\" not in text:
        text = text.rstrip(" ")
        return [text] if text else []
    return [value.rstrip(" ") for value in text.split("\\")]


def strings_json(values: Sequence[str], vr: str) -> str:
    """Members of an element with string values."""
    if vr in ("IS", "DS"):
        return _members([_number_json(value) for value in values])
    if vr == "PN":
        return _members([_name_json(value) for value in values])
    return _members([quote(value) if value else "null" for value in values])


def _members(values: list[str]) -> str:
    if not values or (len(values) == 1 and values[0] == "null"):
        return ""
    return f',"Value":[{",".join(values)}]'


def _number_json(value: str) -> str:
    text = value.strip(" \0")
    if _NUMBER_TEXT.fullmatch(text):
        return text  # as it is: no digit is lost
    if not text:
        return "null"
    try:
        number = float(text)
    except ValueError:
        return quote(value)
    if "_" in text or not math.isfinite(number):
        return quote(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _name_json(value: str) -> str:
    groups = [
        f'"{name}":{quote(group)}'
        for name, group in zip(_GROUP_NAMES, value.split("=", 2), strict=False)
        if group
    ]
    return f"{{{','.join(groups)}}}" if groups else "null"


def numbers_json(raw: bytes, vr: str, order: str) -> str:
    """Members of an element with binary numbers; a remainder of bytes is left out."""
    code, size = _BINARY[vr]
    count = len(raw) // size
    numbers = struct.unpack(f"{order}{count}{code}", raw[: count * size])
    if vr in ("FL", "FD"):
        return _members([_float_json(number) for number in numbers])
    return _members([str(number) for number in numbers])


def _float_json(number: float) -> str:
    if math.isfinite(number):
        return repr(number)
    # JSON has no such numbers; the words are those of the Azure service
    return '"NaN"' if math.isnan(number) else '"Infinity"' if number > 0 else '"-Infinity"'


def tags_json(raw: bytes, order: str) -> str:
    """Members of an element of VR AT."""
    count = len(raw) // 4
    words = struct.unpack(f"{order}{2 * count}H", raw[: 4 * count])
    return _members([f'"{words[at]:04X}{words[at + 1]:04X}"' for at in range(0, len(words), 2)])


def inline_json(raw: bytes, vr: str, order: str) -> str:
    """Members of an element with bulk bytes, in little-endian order (PS3.18 F.2.7)."""
    if order == ">":
        raw = little_endian(raw, _WORD_SIZES.get(vr, 1))
    return f',"InlineBinary":"{base64.b64encode(raw).decode("ascii")}"'


def bulk_json(uri: str) -> str:
    """Members of an element whose value is to be fetched (PS3.18 F.2.6)."""
    return f',"BulkDataURI":{quote(uri)}'


def value_json(raw: bytes, vr: str, order: str) -> str:
    """Members of an element of any VR that is no string and no sequence."""
    if vr in _BINARY:
        return numbers_json(raw, vr, order)
    if vr == "AT":
        return tags_json(raw, order)
    return inline_json(raw, vr, order)


def little_endian(raw: bytes, word: int) -> bytes:
    """Bytes with each word of ``word`` bytes turned round; a remainder stays as it is."""
    if word == 1:
        return raw
    swapped = bytearray(raw)
    whole = len(raw) - len(raw) % word
    for at in range(word):
        swapped[at:whole:word] = raw[word - 1 - at : whole : word]
    return bytes(swapped)
