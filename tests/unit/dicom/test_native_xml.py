"""The Native DICOM Model, read back by the standard library's parser."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from shared.dicom import tags
from shared.dicom.native_xml import NAMESPACE, data_sets, document
from tests.support import dicom
from tests.unit.dicom.reading import facts_of, text_of

_N = f"{{{NAMESPACE}}}"


def _parsed(data_set: dict[str, object]) -> ElementTree.Element:
    return ElementTree.fromstring(document(data_set))


def _shape(element: ElementTree.Element) -> object:
    """An element as nested tuples: name without namespace, attributes, text or children."""
    inner = [_shape(child) for child in element] or element.text
    return element.tag.removeprefix(_N), dict(element.attrib), inner


def test_elements_have_tag_keyword_vr_and_numbered_values() -> None:
    root = _parsed(
        {
            "00080018": {"vr": "UI", "Value": ["1.2.3"]},
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
            "00200013": {"vr": "IS", "Value": [7]},
            "00080020": {"vr": "DA"},
        }
    )
    assert root.tag == f"{_N}NativeDicomModel"
    assert root.attrib == {"{http://www.w3.org/XML/1998/namespace}space": "preserve"}
    assert [_shape(child) for child in root] == [
        ("DicomAttribute", {"tag": "00080008", "keyword": "ImageType", "vr": "CS"}, [
            ("Value", {"number": "1"}, "ORIGINAL"),
            ("Value", {"number": "2"}, None),
            ("Value", {"number": "3"}, "AXIAL"),
        ]),
        ("DicomAttribute", {"tag": "00080018", "keyword": "SOPInstanceUID", "vr": "UI"}, [
            ("Value", {"number": "1"}, "1.2.3"),
        ]),
        ("DicomAttribute", {"tag": "00080020", "keyword": "StudyDate", "vr": "DA"}, None),
        ("DicomAttribute", {"tag": "00200013", "keyword": "InstanceNumber", "vr": "IS"}, [
            ("Value", {"number": "1"}, "7"),
        ]),
    ]  # fmt: skip


def test_person_names_have_groups_and_components() -> None:
    name = {"Alphabetic": "Wang^Xiao^^Dr^Jr", "Ideographic": "王^小", "Phonetic": ""}
    [element] = _parsed({"00101001": {"vr": "PN", "Value": [name, None]}})
    assert _shape(element)[2] == [  # type: ignore[index]
        ("PersonName", {"number": "1"}, [
            ("Alphabetic", {}, [
                ("FamilyName", {}, "Wang"), ("GivenName", {}, "Xiao"),
                ("NamePrefix", {}, "Dr"), ("NameSuffix", {}, "Jr"),
            ]),
            ("Ideographic", {}, [("FamilyName", {}, "王"), ("GivenName", {}, "小")]),
        ]),
        ("PersonName", {"number": "2"}, None),
    ]  # fmt: skip


def test_sequences_bulk_data_and_inline_binary() -> None:
    root = _parsed(
        {
            "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "https://a/b?c=1&d"},
            "00281201": {"vr": "OW", "InlineBinary": "AAE="},
        }
    )
    sequence, inline, bulk = root
    assert [item.get("number") for item in sequence] == ["1", "2"]
    assert sequence[0][0].get("keyword") == "ReferencedSOPInstanceUID"
    assert len(sequence[1]) == 0
    assert _shape(inline)[2] == [("InlineBinary", {}, "AAE=")]  # type: ignore[index]
    assert bulk[0].attrib == {"uri": "https://a/b?c=1&d"}


def test_private_elements_are_named_by_their_creator() -> None:
    root = _parsed(
        {
            "00090010": {"vr": "LO", "Value": ["ACME <1>"]},
            "00091001": {"vr": "LO", "Value": ["x"]},
            "00091101": {"vr": "UN", "InlineBinary": "AA=="},
            "00081140": {"vr": "SQ", "Value": [{"00091002": {"vr": "LO", "Value": ["y"]}}]},
        }
    )
    assert [dict(element.attrib) for element in root] == [
        {"tag": "00081140", "keyword": "ReferencedImageSequence", "vr": "SQ"},
        {"tag": "00090001", "privateCreator": "ACME <1>", "vr": "LO"},
        {"tag": "00091101", "vr": "UN"},  # no block of that number is reserved
    ]
    assert root[0][0][0].get("tag") == "00091002"  # an item reserves blocks of its own


def test_text_that_xml_cannot_hold_is_replaced_and_the_rest_kept() -> None:
    text = 'a&b<c>d"e\ttab\r\nline\x1b\x00\ud800\uffff😀]]>'
    [element] = _parsed({"00104000": {"vr": "LT", "Value": [text]}})
    kept = text.translate(dict.fromkeys([0x1B, 0, 0xD800, 0xFFFF], "\ufffd"))
    assert element[0].text == kept


def test_numbers_keep_their_digits() -> None:
    text = (
        '{"00281053":{"vr":"DS","Value":[0.5000,1e10,-0]}},{"00720076":{"vr":"FL","Value":["NaN"]}}'
    )
    first, second = data_sets(text)
    values = [value.text for value in _parsed(first)[0]]
    assert values == ["0.5000", "1e10", "-0"]
    assert _parsed(second)[0][0].text == "NaN"
    assert list(data_sets("")) == []


@pytest.mark.parametrize("make", [dicom.ct, dicom.mr, dicom.multi_frame])
def test_nothing_of_the_metadata_is_lost(make) -> None:  # type: ignore[no-untyped-def]
    """Turned back into JSON by another way, the document says what the metadata says."""
    text = text_of(facts_of(dicom.part10(make())).metadata).decode()
    [data_set] = data_sets(text)
    assert _as_json(_parsed(data_set)) == data_set
    assert json.loads(text).keys() == data_set.keys()


def _as_json(root: ElementTree.Element) -> dict[str, object]:
    found: dict[str, object] = {}
    for attribute in root:
        vr, tag = attribute.get("vr"), str(attribute.get("tag"))
        entry = tags.entry(int(tag, 16))
        assert attribute.get("keyword") == (entry and entry.keyword)
        element: dict[str, object] = {"vr": vr}
        values: list[object] = []
        for child in attribute:
            kind = child.tag.removeprefix(_N)
            if kind == "BulkData":
                element["BulkDataURI"] = child.get("uri")
            elif kind == "InlineBinary":
                element["InlineBinary"] = child.text
            elif kind == "Item":
                values.append(_as_json(child))
            elif kind == "PersonName":
                values.append(
                    {
                        group.tag.removeprefix(_N): "^".join(c.text or "" for c in group)
                        for group in child
                    }
                )
            else:
                values.append(child.text)
        if values:
            element["Value"] = values
        found[tag] = element
    return found
