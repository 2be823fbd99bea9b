"""The Native DICOM Model in XML, from a data set in the DICOM JSON model (PS3.19 A.1).

Decisions where the standard leaves room:

- Characters that XML 1.0 cannot hold (control characters, lone surrogates) become U+FFFD. The
  file itself keeps them.
- An empty value among others is an empty ``Value``, so that ``number`` and multiplicity stay.
- A private element whose block is reserved is named by its number within the block
  (``gggg00ee``) and its creator, and the element that reserves it is left out; one of no block
  keeps its whole tag.

References
----------
PS3.19 A.1.4 to A.1.6, PS3.18 8.7.3.1, XML 1.0 2.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.dicom import tags

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_HEAD: Final = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
)
_TAIL: Final = "</NativeDicomModel>"
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP: Final = re.compile('[&<>"\t\n\r]')
_ESCAPED: Final = {
    "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;",
    "\t": "&#9;", "\n": "&#10;", "\r": "&#13;",  # else a parser may turn them into others
}  # fmt: skip

_decoder = json.JSONDecoder(parse_float=str, parse_int=str)  # so that no digit is lost


def data_sets(text: str) -> Iterator[dict[str, Any]]:
    """Data sets in the DICOM JSON model that stand one after the other, commas between.

    Numbers are given as their text.
    """
    at = 0
    while at < len(text):
        found, at = _decoder.raw_decode(text, at)
        yield found
        at += 1


def document(data_set: Mapping[str, Any]) -> bytes:
    """One data set as an XML document.

    Parameters
    ----------
    data_set : Mapping[str, Any]
        In the DICOM JSON model; numbers as such or as texts.

    Returns
    -------
    bytes
        UTF-8.
    """
    pieces = [_HEAD]
    _write(data_set, pieces)
    pieces.append(_TAIL)
    return "".join(pieces).encode()


def _write(data_set: Mapping[str, Any], pieces: list[str]) -> None:
    creators = {
        key: str(element["Value"][0])
        for key, element in data_set.items()
        if tags.is_private_creator(int(key, 16)) and element.get("Value", [None])[0]
    }
    for key in sorted(data_set):
        if key in creators:
            continue
        tag = int(key, 16)
        if not tag & 0xFFFF:
            continue  # group length, PS3.5 7.2
        element = data_set[key]
        names = _names(tag, key, creators)
        pieces.append(f'<DicomAttribute {names} vr="{_escaped(str(element["vr"]))}">')
        _write_value(element, pieces)
        pieces.append("</DicomAttribute>")


def _names(tag: int, key: str, creators: Mapping[str, str]) -> str:
    """The attributes ``tag``, and ``keyword`` or ``privateCreator``."""
    if tags.is_private(tag):
        creator = creators.get(f"{key[:4]}00{key[4:6]}")
        if creator is None:
            return f'tag="{key}"'
        return f'tag="{key[:4]}00{key[6:]}" privateCreator="{_escaped(creator)}"'
    entry = tags.entry(tag)
    return f'tag="{key}"' + (f' keyword="{entry.keyword}"' if entry and entry.keyword else "")


def _write_value(element: Mapping[str, Any], pieces: list[str]) -> None:
    if "BulkDataURI" in element:
        pieces.append(f'<BulkData uri="{_escaped(element["BulkDataURI"])}"/>')
    elif "InlineBinary" in element:
        pieces.append(f"<InlineBinary>{_escaped(element['InlineBinary'])}</InlineBinary>")
    for number, value in enumerate(element.get("Value", ()), 1):
        if element["vr"] == "SQ":
            pieces.append(f'<Item number="{number}">')
            _write(value or {}, pieces)
            pieces.append("</Item>")
        elif element["vr"] == "PN":
            pieces.append(f'<PersonName number="{number}">')
            _write_name(value or {}, pieces)
            pieces.append("</PersonName>")
        else:
            text = "" if value is None else _escaped(str(value))
            pieces.append(f'<Value number="{number}">{text}</Value>')


def _write_name(name: Mapping[str, str], pieces: list[str]) -> None:
    for group in _GROUPS:
        if not name.get(group):
            continue
        pieces.append(f"<{group}>")
        # what is beyond the fifth component stays with it, so that nothing is lost
        for component, text in zip(_COMPONENTS, name[group].split("^", 4), strict=False):
            if text:
                pieces.append(f"<{component}>{_escaped(text)}</{component}>")
        pieces.append(f"</{group}>")


def _escaped(text: str) -> str:
    return _MARKUP.sub(lambda found: _ESCAPED[found[0]], _NOT_XML.sub("\ufffd", text))
