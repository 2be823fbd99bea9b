"""Values as the DICOM JSON model writes them (PS3.18 Annex F).

One function per VR turns the bytes of a value into the end of its JSON object, which is text: the
metadata of an instance is written once and never looked at as objects, so none are made.
"""

from __future__ import annotations

import json.encoder
import math
import re
import struct
from array import array
from binascii import b2a_base64
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from shared.dicom.text import CharacterSet, decode

INLINE_BYTES: Final = 1024
"""Longest value of a bulk VR that stands in the JSON itself, as ``InlineBinary``."""

KEPT_BYTES: Final = 64 * 1024
"""Longest value of any other VR that is read into memory."""

EMPTY: Final = "}"

Rendered: TypeAlias = tuple[list[str] | None, str]
"""Values of a string VR as a checker sees them, and the JSON text after ``{"vr":"XX"``."""

Render: TypeAlias = Callable[[bytes, CharacterSet], Rendered]


class Vr(NamedTuple):
    """A value representation in one byte order.

    Parameters
    ----------
    name : str
        As the JSON shows it.
    long : bool
        Whether its length field in explicit VR has 32 bits (PS3.5 7.1.2).
    kept : int
        Longest value, in bytes, that is read into memory.
    render : Render
        Writes a value.
    bulk : bool
        One of OB OD OF OL OV OW UN.
    unknown : bool
        Not in the file and not in the dictionary: stays out of the metadata.
    """

    name: str
    long: bool
    kept: int
    render: Render
    bulk: bool = False
    unknown: bool = False


quote: Callable[[str], str] = json.encoder.encode_basestring
"""Text as a JSON string in quotes; control characters escaped, the rest as it is (RFC 8259 7)."""


# Text -------------------------------------------------------------------------------------


def _strings(values: list[str]) -> str:
    """The end of the object for values that are strings; an empty one is null (F.2.5)."""
    if len(values) == 1:
        return f',"Value":[{quote(values[0])}]}}' if values[0] else EMPTY
    return ',"Value":[' + ",".join([quote(value) if value else "null" for value in values]) + "]}"


def _trimmed(text: str) -> list[str]:
    """Values without their trailing spaces; none for an empty text."""
    if "\\" in text:
        return [value.rstrip(" ") for value in text.split("\\")]
    text = text.rstrip(" ")
    return [text] if text else []


def _plain(raw: bytes, charset: CharacterSet) -> Rendered:
    """VRs of the default repertoire: AE AS CS DA DT TM."""
    values = _trimmed(raw.decode("latin_1"))
    return values, _strings(values) if values else EMPTY


def _uid(raw: bytes, charset: CharacterSet) -> Rendered:
    """UI: NULs are its padding, spaces are part of it (spec §2.8.3)."""
    text = raw.decode("latin_1")
    if "\\" in text:
        values = [value.rstrip("\0") for value in text.split("\\")]
        return values, _strings(values)
    text = text.rstrip("\0")
    return ([text], f',"Value":[{quote(text)}]}}') if text else ([], EMPTY)


def _name_of(vr: str) -> Render:
    def render(raw: bytes, charset: CharacterSet) -> Rendered:
        values = _trimmed(decode(raw, charset, vr))
        return values, _strings(values) if values else EMPTY

    return render


def _text_of(vr: str) -> Render:
    """LT ST UT UR: one value, in which a backslash is a character (PS3.5 Table 6.2-1)."""

    def render(raw: bytes, charset: CharacterSet) -> Rendered:
        text = decode(raw, charset, vr).rstrip(" ")
        return ([text], f',"Value":[{quote(text)}]}}') if text else ([], EMPTY)

    return render


_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


def _person(value: str) -> str:
    """A person name as an object of its component groups (F.2.2)."""
    if "=" not in value:
        return f'{{"Alphabetic":{quote(value)}}}' if value else "null"
    members = [
        f'"{name}":{quote(group)}'
        for name, group in zip(_GROUPS, value.split("=", 2), strict=False)
        if group.strip(" ")
    ]
    return "{" + ",".join(members) + "}" if members else "null"


def _person_name(raw: bytes, charset: CharacterSet) -> Rendered:
    values = _trimmed(decode(raw, charset, "PN"))
    if not values:
        return values, EMPTY
    people = [_person(value) for value in values]
    if people == ["null"]:
        return values, EMPTY
    return values, ',"Value":[' + ",".join(people) + "]}"


# Numbers as text --------------------------------------------------------------------------

_JSON_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,30})?"
_JSON_NUMBERS: Final = re.compile(rf"{_JSON_NUMBER}(?:\\{_JSON_NUMBER})*")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,30}")
_LONGEST_NUMBER: Final = 64


def _number(value: str) -> str:
    """A number as JSON where it is one and finite, else the text (F.2.3)."""
    text = value.strip(" ")
    if not text:
        return "null"
    if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
        if _INTEGER.fullmatch(text):
            return str(int(text))
        number = float(text)
        if math.isfinite(number):
            return repr(number)
    return quote(value)


def _number_string(raw: bytes, charset: CharacterSet) -> Rendered:
    """DS and IS. The usual spellings are JSON already and keep all their digits."""
    text = raw.decode("latin_1").rstrip(" ")
    if not text:
        return [], EMPTY
    if _JSON_NUMBERS.fullmatch(text):
        if "\\" in text:
            return text.split("\\"), ',"Value":[' + text.replace("\\", ",") + "]}"
        return [text], f',"Value":[{text}]}}'
    values = _trimmed(text)
    numbers = [_number(value) for value in values]
    if numbers == ["null"]:
        return values, EMPTY
    return values, ',"Value":[' + ",".join(numbers) + "]}"


# Binary numbers ---------------------------------------------------------------------------


def _integers(code: str, order: str) -> Render:
    size = struct.calcsize("<" + code)
    single = struct.Struct(order + code)

    def render(raw: bytes, charset: CharacterSet) -> Rendered:
        if len(raw) == size:
            return None, f',"Value":[{single.unpack(raw)[0]}]}}'
        count = len(raw) // size  # a remainder is no value
        if not count:
            return None, EMPTY
        values = struct.unpack_from(f"{order}{count}{code}", raw)
        return None, ',"Value":[' + ",".join(map(str, values)) + "]}"

    return render


def _real(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    if math.isnan(value):
        return '"NaN"'
    return '"Infinity"' if value > 0 else '"-Infinity"'


def _reals(code: str, order: str) -> Render:
    """FL and FD. JSON has no NaN and no infinity (RFC 8259 6): they are strings, by our rule."""
    size = struct.calcsize("<" + code)

    def render(raw: bytes, charset: CharacterSet) -> Rendered:
        count = len(raw) // size
        if not count:
            return None, EMPTY
        values = struct.unpack_from(f"{order}{count}{code}", raw)
        return None, ',"Value":[' + ",".join(map(_real, values)) + "]}"

    return render


def _attribute_tags(order: str) -> Render:
    def render(raw: bytes, charset: CharacterSet) -> Rendered:
        count = len(raw) // 4 * 2
        if not count:
            return None, EMPTY
        halves = struct.unpack_from(f"{order}{count}H", raw)
        tags = [f'"{halves[at]:04X}{halves[at + 1]:04X}"' for at in range(0, count, 2)]
        return None, ',"Value":[' + ",".join(tags) + "]}"

    return render


# Bytes ------------------------------------------------------------------------------------


def little_endian(data: bytes, size: int) -> bytes:
    """Words of ``size`` bytes (1, 2, 4 or 8) in the other byte order; a remainder stays."""
    if size == 1:
        return data
    words = array({2: "H", 4: "I", 8: "Q"}[size])
    whole = len(data) - len(data) % size
    words.frombytes(memoryview(data)[:whole])
    words.byteswap()
    return words.tobytes() + data[whole:]


WORD_BYTES: Final = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Words of the bulk VRs, in bytes: what byte order applies to (PS3.5 7.3)."""


def _bytes(size: int) -> Render:
    """Bulk VRs, inline: always little endian (F.2.7)."""

    def render(raw: bytes, charset: CharacterSet) -> Rendered:
        if not raw:
            return None, EMPTY
        text = b2a_base64(little_endian(raw, size), newline=False).decode("ascii")
        return None, f',"InlineBinary":"{text}"}}'

    return render


# Tables -----------------------------------------------------------------------------------


def _table(order: str) -> dict[str, Vr]:
    long = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
    renders: dict[str, Render] = dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM"), _plain)
    renders |= {name: _name_of(name) for name in ("LO", "SH", "UC")}
    renders |= {name: _text_of(name) for name in ("LT", "ST", "UT", "UR")}
    renders |= {"UI": _uid, "PN": _person_name, "DS": _number_string, "IS": _number_string}
    integers = {"SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
    renders |= {name: _integers(code, order) for name, code in integers.items()}
    renders |= {"FL": _reals("f", order), "FD": _reals("d", order), "AT": _attribute_tags(order)}
    renders["SQ"] = _bytes(1)  # never used: a sequence is no value
    table = {name: Vr(name, name in long, KEPT_BYTES, renders[name]) for name in renders}
    for name, size in WORD_BYTES.items():
        render = _bytes(size if order == ">" else 1)
        table[name] = Vr(name, True, INLINE_BYTES, render, bulk=True)
    return table


LITTLE: Final = _table("<")
"""VRs by name, for values in little endian."""

BIG: Final = _table(">")
"""VRs by name, for values in big endian."""

UNKNOWN: Final = LITTLE["UN"]._replace(unknown=True)
"""The VR of an element that neither the file nor the dictionary gives one (spec §2.9)."""
