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
from functools import partial
from json.encoder import encode_basestring
from typing import Final

from shared.dicom.text import CharacterSet, decode

quote: Callable[[str], str] = encode_basestring
"""A text as a JSON string, non-ASCII letters as they are."""

STRING_VRS: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI",
     "UR", "UT"}
)  # fmt: skip
ONE_VALUE_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})
"""String VRs in which the backslash is an ordinary character (PS3.5 6.4)."""

BULK_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_CHARSET_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_LONGEST_NUMBER: Final = 64
_PLAIN_NUMBER: Final = re.compile(
    # as short as this it is finite, and no parser refuses it
    r"-?(?:0|[1-9][0-9]{0,31})(?:\.[0-9]{1,31})?(?:[eE][+-]?0{0,2}[0-9]{1,2})?"
).fullmatch
_GROUP_NAMES: Final = ("Alphabetic", "Ideographic", "Phonetic")
_INTEGERS: Final = {"SS": "h", "US": "H", "SL": "i", "UL": "I", "SV": "q", "UV": "Q"}
_WORD_SIZES: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def string_values(raw: bytes, vr: str, charset: CharacterSet) -> list[str]:
    """The values of a string VR, each without padding; see ``Checker.element``."""
    if not raw:
        return []
    text = decode(raw, charset, vr) if vr in _CHARSET_VRS else str(raw, "latin_1")
    pad = "\0" if vr == "UI" else " "
    if "\\" not in text or vr in ONE_VALUE_VRS:
        text = text.rstrip(pad)
        return [text] if text else []
    return [value.rstrip(pad) for value in text.split("\\")]


def strings_json(values: Sequence[str], vr: str) -> str:
    """Members of an element with string values."""
    if vr in ("IS", "DS"):
        return number_texts_json(values)
    return names_json(values) if vr == "PN" else texts_json(values)


def texts_json(values: Sequence[str]) -> str:
    """Members of an element whose values are texts."""
    if len(values) == 1:  # nearly always
        return f',"Value":[{quote(values[0])}]' if values[0] else ""
    return _members([quote(value) if value else "null" for value in values])


def number_texts_json(values: Sequence[str]) -> str:
    """Members of an element of VR IS or DS; what is no number stays a text (PS3.18 F.2.3)."""
    if len(values) == 1 and _PLAIN_NUMBER(values[0]):  # nearly always
        return f',"Value":[{values[0]}]'
    return _members([_number_json(value) for value in values])


def names_json(values: Sequence[str]) -> str:
    """Members of an element of VR PN, by component groups (PS3.18 F.2.2)."""
    return _members([_name_json(value) for value in values])


def _members(values: list[str]) -> str:
    if not values or (len(values) == 1 and values[0] == "null"):
        return ""
    return f',"Value":[{",".join(values)}]'


def _number_json(value: str) -> str:
    text = value.strip(" \0")
    if not text:
        return "null"
    if _PLAIN_NUMBER(text):
        return text  # as it is: no digit is lost
    number = _number(text)
    if number is None:
        return quote(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _number(text: str) -> float | None:
    """A finite number, of a length that JSON parsers take."""
    if len(text) > _LONGEST_NUMBER or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _name_json(value: str) -> str:
    if "=" not in value:
        return f'{{"Alphabetic":{quote(value)}}}' if value else "null"
    groups = [
        f'"{name}":{quote(group)}'
        for name, group in zip(_GROUP_NAMES, value.split("=", 2), strict=False)
        if group
    ]
    return f"{{{','.join(groups)}}}" if groups else "null"


def binary_json(vr: str, order: str) -> Callable[[bytes], str]:
    """What gives the members of elements of a VR that is no string and no sequence.

    Parameters
    ----------
    vr : str
        Binary numbers, ``AT``, or bulk bytes.
    order : str
        Byte order of the file, ``<`` or ``>``; JSON has bulk bytes in little-endian order
        (PS3.18 F.2.7).
    """
    if vr in ("FL", "FD"):
        return partial(_floats_json, code=order + "fd"[vr == "FD"])
    if vr in _INTEGERS:
        return _integers_json(order + _INTEGERS[vr])
    if vr == "AT":
        return partial(_tags_json, order=order)
    return partial(_inline_json, word=_WORD_SIZES.get(vr, 1) if order == ">" else 1)


def _integers_json(code: str) -> Callable[[bytes], str]:
    one = struct.Struct(code)
    size, unpack = one.size, one.unpack

    def members(raw: bytes) -> str:
        if len(raw) == size:  # nearly always
            return f',"Value":[{unpack(raw)[0]}]'
        return _members([str(number) for (number,) in one.iter_unpack(_whole(raw, size))])

    return members


def _floats_json(raw: bytes, code: str) -> str:
    numbers = struct.iter_unpack(code, _whole(raw, struct.calcsize(code)))
    return _members([_float_json(number) for (number,) in numbers])


def _float_json(number: float) -> str:
    if math.isfinite(number):
        return repr(number)
    # JSON has no such numbers; the words are those of the Azure service
    return '"NaN"' if math.isnan(number) else '"Infinity"' if number > 0 else '"-Infinity"'


def _tags_json(raw: bytes, order: str) -> str:
    pairs = struct.iter_unpack(order + "HH", _whole(raw, 4))
    return _members([f'"{group:04X}{element:04X}"' for group, element in pairs])


def _inline_json(raw: bytes, word: int) -> str:
    if not raw:
        return ""
    return f',"InlineBinary":"{base64.b64encode(little_endian(raw, word)).decode("ascii")}"'


def bulk_json(uri: str) -> str:
    """Members of an element whose value is to be fetched (PS3.18 F.2.6)."""
    return f',"BulkDataURI":{quote(uri)}'


def _whole(raw: bytes, size: int) -> bytes:
    """Less a remainder that is no value."""
    rest = len(raw) % size
    return raw[:-rest] if rest else raw


def little_endian(raw: bytes, word: int) -> bytes:
    """Bytes with each word of ``word`` bytes turned round; a remainder stays as it is."""
    if word == 1:
        return raw
    swapped = bytearray(raw)
    whole = len(raw) - len(raw) % word
    for at in range(word):
        swapped[at:whole:word] = raw[word - 1 - at : whole : word]
    return bytes(swapped)
