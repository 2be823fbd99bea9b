import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.attributes import VALIDATED
from shared.dicom.instance import Checker, Identifiers
from shared.dicom.validation import MAX_COMMENTS, StoreValidation
from shared.dicom.validation_rules import SIZE, VALID

STUDY, SERIES, INSTANCE, CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
PATIENT_ID, PATIENT_NAME, MODALITY = 0x00100020, 0x00100010, 0x00080060
STUDY_DATE, BIRTH_DATE, DESCRIPTION = 0x00080020, 0x00100030, 0x00081030

BASE = {
    CLASS: ("UI", ["1.2.840.10008.5.1.4.1.1.2"]),
    INSTANCE: ("UI", ["2.25.103"]),
    STUDY_DATE: ("DA", ["20240102"]),
    MODALITY: ("CS", ["CT"]),
    PATIENT_NAME: ("PN", ["Test^Alpha"]),
    PATIENT_ID: ("LO", ["T-001"]),
    STUDY: ("UI", ["2.25.101"]),
    SERIES: ("UI", ["2.25.102"]),
    0x00280010: ("US", 2),
    0x7FE00010: ("OW", 32),
}


def store(major, changes=(), *, url=None, nested=(), searchable=VALIDATED, **more):
    """The verdict on BASE with changes: tag → (VR, values or size in bytes), or None: absent."""
    checker: Checker = StoreValidation(major, searchable, **more)
    elements = {**BASE, **dict(changes)}
    kept = {}
    for tag, element in sorted(elements.items()):
        if element is None:
            continue
        vr, content = element
        values, length = (None, content) if isinstance(content, int) else (content, 1)
        if values is not None:
            length = len("\\".join(values).encode())
        kept[tag] = checker.element(tag, vr, values, length, 0)
    for tag, vr, values in nested:
        kept[tag, 1] = checker.element(tag, vr, values, 1, 1)

    def value(tag):
        if elements.get(tag) is None:
            return None
        return "\\".join(elements[tag][1]).rstrip("\0")

    identifiers = Identifiers(value(CLASS), value(INSTANCE), value(STUDY), value(SERIES))
    return checker.finish(identifiers, url), kept


def verdict(major, changes=(), **more):
    return store(major, changes, **more)[0]


BOTH = pytest.mark.parametrize("major", [1, 2])


@BOTH
def test_valid_instance_is_stored(major):
    found, kept = store(major)
    assert found.failure is None
    assert found.comments == []
    assert found.warnings == []
    assert found.left_out == frozenset()
    assert not found.several_values
    assert all(kept.values())


# Required attributes


@BOTH
@pytest.mark.parametrize("tag", [CLASS, STUDY, SERIES, INSTANCE, PATIENT_ID])
def test_065_missing_required_attribute_is_named(major, tag):
    shown = f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
    found = verdict(major, {tag: None})
    assert found.failure == 43264
    assert found.comments == [f"DICOM100: {shown} - The required tag '{shown}' is missing."]


@BOTH
@pytest.mark.parametrize("values", [[], [""], ["  "], ["1.2", "1.3"]])
@pytest.mark.parametrize("tag", [CLASS, STUDY, SERIES, INSTANCE])
def test_001_required_uid_has_exactly_one_value(major, tag, values):
    """Bug report 1: an empty StudyInstanceUID."""
    found = verdict(major, {tag: ("UI", values)})
    assert found.failure == 43264
    assert "is missing" in found.comments[0]
    assert f"({tag >> 16:04x},{tag & 0xFFFF:04x})" in found.comments[0]


@BOTH
def test_first_missing_attribute_is_the_one_told(major):
    found = verdict(major, {PATIENT_ID: None, SERIES: None, STUDY: None})
    assert len(found.comments) == 1
    assert "(0020,000d)" in found.comments[0]


@BOTH
def test_041_042_study_of_the_url_is_compared(major):
    found = verdict(major, url="2.25.9")
    assert found.failure == 43264
    assert len(found.comments) == 1
    assert found.comments[0].startswith("DICOM100: (0020,000d) - ")
    assert verdict(major, url="2.25.101").failure is None
    assert verdict(major, url="2.25.101  ").failure is None
    assert verdict(major, {STUDY: ("UI", ["2.25.101 "])}, url="2.25.101").failure is None
    assert verdict(major, {STUDY: ("UI", ["2.25.101\0"])}, url="2.25.101").failure is None  # 59


@BOTH
@pytest.mark.parametrize("value", ["abc.123", "11|", "1.2.", "1" * 65])
def test_045_046_identifier_with_bad_syntax_is_refused(major, value):
    found = verdict(major, {STUDY: ("UI", [value])})
    assert found.failure == 43264
    assert len(found.comments) == 1
    assert found.comments[0].startswith(
        "DICOM100: (0020,000d) - Dicom element 'StudyInstanceUID' failed validation for VR 'UI': "
    )


@BOTH
def test_043_068_identifiers_may_be_equal(major):
    same = {tag: ("UI", ["1.2.3"]) for tag in (STUDY, SERIES, INSTANCE)}
    assert verdict(major, same).failure is None


@BOTH
def test_049_trailing_space_of_an_identifier_is_accepted(major):
    found = verdict(major, {STUDY: ("UI", ["1.2 "])})
    assert (found.failure, found.warnings) == (None, [])


# PatientID


@pytest.mark.parametrize("values", [[], [""], ["\0"], [" \0"]])
def test_062_null_patient_id_warns_in_version_2(values):
    found, kept = store(2, {PATIENT_ID: ("LO", values)})
    assert found.failure is None
    assert found.warnings == ["DICOM100: (0010,0020) - The required tag '(0010,0020)' is missing."]
    assert kept[PATIENT_ID]
    assert found.left_out == frozenset()


@pytest.mark.parametrize("values", [[], [""]])
def test_062_null_patient_id_fails_in_version_1(values):
    found = verdict(1, {PATIENT_ID: ("LO", values)})
    assert found.failure == 43264
    assert found.comments == ["DICOM100: (0010,0020) - The required tag '(0010,0020)' is missing."]


def test_053_nul_in_patient_id_fails_in_version_1():
    found = verdict(1, {PATIENT_ID: ("LO", ["Before Null Character, \0"])})
    assert found.failure == 43264
    assert found.comments == [
        "DICOM100: (0010,0020) - Dicom element 'PatientID' failed validation for VR 'LO': "
        "Value contains invalid character."
    ]


def test_060_trailing_nul_of_patient_id_is_fine_in_version_2():
    found, kept = store(2, {PATIENT_ID: ("LO", ["123\0"])})
    assert (found.failure, found.warnings) == (None, [])
    assert kept[PATIENT_ID]


@BOTH
def test_061_leading_nul_of_patient_id_fails(major):
    found = verdict(major, {PATIENT_ID: ("LO", ["\x00123\0"])})
    assert found.failure == 43264
    assert len(found.comments) == 1  # the first for its tag, not the warning as well


def test_060_trailing_nul_of_patient_id_fails_in_version_1():
    assert verdict(1, {PATIENT_ID: ("LO", ["123\0"])}).failure == 43264


# Searched attributes


def test_052_long_modality_fails_in_version_1():
    found = verdict(1, {MODALITY: ("CS", ["X" * 20])})
    assert found.failure == 43264
    assert found.comments == [
        "DICOM100: (0008,0060) - Dicom element 'Modality' failed validation for VR 'CS': "
        "Value length exceeds maximum length of 16."
    ]


def test_054_long_modality_warns_in_version_2():
    found, kept = store(2, {MODALITY: ("CS", ["X" * 20])})
    assert found.failure is None
    assert len(found.warnings) == 1
    assert not kept[MODALITY]
    assert found.left_out == {MODALITY}


def test_055_one_bad_date_of_two():
    changes = {STUDY_DATE: ("DA", ["NotAValidStudyDate"]), BIRTH_DATE: ("DA", ["20220315"])}
    found, kept = store(2, changes)
    assert found.failure is None
    assert found.warnings == [
        'DICOM100: (0008,0020) - Content "NotAValidStudyDate" does not validate VR DA: '
        "one of the date values does not match the pattern YYYYMMDD"
    ]
    assert kept[BIRTH_DATE]
    assert found.left_out == {STUDY_DATE}
    assert verdict(1, changes).failure == 43264


def test_057_nul_inside_modality():
    found = verdict(2, {MODALITY: ("CS", ["X\0X"])})
    assert found.failure is None
    assert "does not validate VR CS: value contains invalid character" in found.warnings[0]
    assert verdict(1, {MODALITY: ("CS", ["X\0X"])}).failure is None


@BOTH
def test_058_nul_after_modality(major):
    found = verdict(major, {MODALITY: ("CS", ["X\0"])})
    assert (found.failure, found.warnings, found.left_out) == (None, [], frozenset())


def test_047_048_two_study_descriptions():
    changes = {DESCRIPTION: ("LO", ["a", "b"])}
    old = verdict(1, changes)
    assert (old.failure, old.warnings, old.several_values) == (None, [], True)
    new, kept = store(2, changes)
    assert (new.failure, new.several_values) == (None, False)
    assert new.warnings == [
        'DICOM100: (0008,1030) - Content "a\\b" does not validate VR LO: '
        "Number of items 2 does not match ValueMultiplicity 1"
    ]
    assert not kept[DESCRIPTION]


@BOTH
def test_048_two_patient_ids_are_flagged(major):
    found = verdict(major, {PATIENT_ID: ("LO", ["a", "b"])})
    assert found.failure is None
    assert found.several_values


def test_values_padded_by_nul_are_not_counted():
    assert verdict(2, {DESCRIPTION: ("LO", ["a", "b\0"])}).warnings == []


def test_what_is_not_searched_may_be_anything_in_version_1():
    changes = {0x00080030: ("TM", ["99:99"]), 0x00080070: ("LO", ["x" * 99])}
    assert verdict(1, changes).failure is None
    assert len(verdict(2, changes).warnings) == 2


def test_standard_keys_are_not_checked_in_version_1():
    """StudyTime can be searched, but the Azure service stores it whatever it is."""
    assert verdict(1, {0x00080030: ("TM", ["bad"])}).failure is None


def test_extended_tags_are_checked_in_version_1():
    searchable = {**VALIDATED, 0x00101010: "AS", 0x00280010: "US", 0x00091001: "LO"}
    assert verdict(1, {0x00101010: ("AS", ["045Y"])}, searchable=searchable).failure is None
    for changes, text in (
        ({0x00101010: ("AS", [])}, "Value length is not 4."),
        ({0x00101010: ("AS", ["45Y"])}, "Value length is not 4."),
        ({0x00280010: ("US", 3)}, "Value length is not 2."),
        ({0x00280010: ("SS", 2)}, "expected VR US, found SS"),
        ({0x00091001: ("LO", ["a\nb"])}, "Value contains invalid character."),
    ):
        found = verdict(1, changes, searchable=searchable)
        assert found.failure == 43264
        assert text in found.comments[0]


def test_unexpected_vr_of_an_indexed_tag():
    changes = {STUDY_DATE: ("LO", ["20240102"])}
    found, kept = store(2, changes)
    assert found.failure is None
    assert "expected VR DA, found LO" in found.warnings[0]
    assert not kept[STUDY_DATE]
    assert verdict(1, changes).failure == 43264
    assert verdict(2, {PATIENT_ID: ("SH", ["x"])}).failure == 43264


# Every element


def test_011_leading_zero_in_an_identifier():
    """Bug report 11: stored, and retrieved by it; version 2 warns and keeps it."""
    for tag in (STUDY, SERIES, INSTANCE):
        assert verdict(1, {tag: ("UI", ["1.02.3"])}).failure is None
        found, kept = store(2, {tag: ("UI", ["1.02.3"])})
        assert found.failure is None
        assert found.warnings == [
            f"DICOM100: ({tag >> 16:04x},{tag & 0xFFFF:04x}) - "
            'Content "1.02.3" does not validate VR UI: components must not have leading zeros'
        ]
        assert kept[tag]
        assert found.left_out == frozenset()
    found, kept = store(2, {0x00200052: ("UI", ["1.02.3"])})
    assert not kept[0x00200052]


def test_066_nested_element_is_named():
    found, kept = store(2, nested=[(0x300E0004, "DA", ["2021"])])
    assert found.failure is None
    assert found.warnings[0].startswith("DICOM100: (300e,0004) - ")
    assert not kept[0x300E0004, 1]
    assert found.left_out == frozenset()


def test_nested_identifier_is_left_out_with_its_sequence():
    _, kept = store(2, nested=[(STUDY, "UI", ["1.02"])])
    assert not kept[STUDY, 1]
    assert kept[STUDY]


def test_nested_elements_are_not_the_instances_own():
    found = verdict(2, nested=[(PATIENT_ID, "LO", ["x" * 99]), (MODALITY, "LO", ["x"])])
    assert found.failure is None
    assert len(found.warnings) == 1
    assert verdict(1, nested=[(PATIENT_ID, "LO", ["x" * 99])]).failure is None


def test_067_private_element():
    found, kept = store(2, {0x00091010: ("AS", ["5 years"])})
    assert found.failure is None
    assert found.warnings == [
        'DICOM100: (0009,1010) - Content "5 years" does not validate VR AS: '
        "value does not have pattern 000[DWMY]"
    ]
    assert not kept[0x00091010]
    assert verdict(2, {0x00091010: ("LO", ["a", "b"])}).warnings == []


def test_one_entry_for_a_tag():
    nested = [(MODALITY, "CS", ["bad"]), (MODALITY, "CS", ["worse"])]
    found, kept = store(2, {MODALITY: ("CS", ["x"])}, nested=nested)
    assert len(found.warnings) == 1
    assert 'Content "x"' in found.warnings[0]
    assert not kept[MODALITY]
    assert not kept[MODALITY, 1]


def test_refused_instance_lists_errors_then_warnings():
    changes = {MODALITY: ("CS", ["x"]), SERIES: ("UI", ["abc"]), PATIENT_ID: ("LO", [])}
    found = verdict(2, changes)
    assert found.failure == 43264
    assert [comment[10:21] for comment in found.comments] == [
        "(0020,000e)", "(0010,0020)", "(0008,0060)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("element", "count"),
    [
        ({0x00280010: ("US", 4)}, 2),
        ({0x00200032: ("DS", ["1", "2"])}, 2),
        ({0x00200032: ("DS", ["1"])}, 1),
        ({0x00200032: ("DS", ["1"] * 4)}, 4),
        ({0x00281101: ("US", 4)}, 2),
    ],
)
def test_number_of_values_is_checked(element, count):
    (warning,) = verdict(2, element).warnings
    assert f"Number of items {count} does not match ValueMultiplicity " in warning


@pytest.mark.parametrize(
    "element",
    [
        {0x00200032: ("DS", ["1", "2", "3"])},
        {0x00200032: ("DS", [])},
        {0x00280010: ("US", 0)},
        {0x00281101: ("US", 6)},
        {0x60000010: ("US", 2)},
        {0x00080008: ("CS", ["ORIGINAL", "PRIMARY", "AXIAL"])},
        {0x00091001: ("US", 8)},
        {0x00091001: ("UN", 7)},
        {0x7FE00010: ("OB", 7)},
        {0x30060050: ("DS", 500_000)},  # ContourData too long to be kept
        {0x00204000: ("LT", 40_960)},
        {0x00080119: ("UC", 500_000)},
        {0x00091001: ("LO", 500_000)},
    ],
)
def test_number_of_values_is_right(element):
    assert verdict(2, element).warnings == []


@pytest.mark.parametrize("vr", ["LT", "ST"])
def test_010_text_too_long_to_be_kept(vr):
    (warning,) = verdict(2, {0x00204000: (vr, 500_000)}).warnings
    assert "value exceeds maximum length" in warning
    assert "value exceeds" in verdict(2, {PATIENT_NAME: ("PN", 500_000)}).warnings[0]
    for major in (1, 2):
        assert verdict(major, {PATIENT_ID: ("LO", 500_000)}).failure == 43264


def test_long_value_is_not_repeated_in_full():
    (warning,) = verdict(2, {0x00204000: ("LT", ["x" * 20_000])}).warnings
    assert len(warning) < 400


def test_number_of_comments_is_bounded():
    changes = {0x00091000 + number: ("AS", ["bad"]) for number in range(0, 2 * MAX_COMMENTS)}
    found = verdict(2, changes)
    assert len(found.warnings) == MAX_COMMENTS + 1
    assert "not listed" in found.warnings[-1]
    assert len(found.left_out) == 2 * MAX_COMMENTS
    found = verdict(2, {**changes, PATIENT_ID: None})
    assert len(found.comments) == MAX_COMMENTS + 2
    assert "not listed" in found.comments[-1]


@BOTH
def test_every_fault_can_be_made_to_refuse(major):
    changes = {0x00080070: ("LO", ["x" * 99])}
    found = verdict(major, changes, every_fault=True)
    assert found.failure == 43264
    assert len(found.comments) == 1
    assert verdict(major, every_fault=True).failure is None


# Anything

VRS = st.sampled_from([*VALID, *SIZE, "UC", "UR", "UT", "OB", "UN", "??"])
VALUES = st.none() | st.lists(st.text(max_size=70) | st.from_regex(r"[0-9.^=+-]{0,20}\x00?"))
TAGS = st.sampled_from([*BASE, 0x00091001, 0x300E0004, 0x60000010, 0xFFFFFFFF]) | st.integers(
    0, 0xFFFFFFFF
)
ELEMENTS = st.lists(st.tuples(TAGS, VRS, VALUES, st.integers(0, 2**32), st.integers(0, 3)))
UIDS = st.none() | st.text(max_size=9)


@given(ELEMENTS, st.sampled_from([1, 2]), st.booleans(), st.tuples(UIDS, UIDS, UIDS, UIDS), UIDS)
def test_no_element_raises(elements, major, every_fault, uids, url):
    checker = StoreValidation(
        major, {**VALIDATED, 0x00091001: "IS", 0xFFFFFFFF: "FD"}, every_fault=every_fault
    )
    for element in elements:
        assert checker.element(*element) in (True, False)
    found = checker.finish(Identifiers(*uids), url)
    assert (found.failure is None) == (found.comments == [])
