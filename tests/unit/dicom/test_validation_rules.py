import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom import tags
from shared.dicom.validation_minimum import minimum_problem
from shared.dicom.validation_rules import _EXPLAINED, VALID, multiplicity, value_problem

TOO_LONG = "value exceeds maximum length of"
CONTROL = "value contains invalid control character"
INVALID = "value contains invalid character"
DATE = "one of the date values does not match the pattern YYYYMMDD"
DATE_TIME = "value does not mach pattern YYYY[MM[DD[HH[MM[SS[.F{1-6}]]]]]]"
TIME = "value does not mach pattern HH or HHMM or HHMMSS or HHMMSS.F{1-6}"
COMPONENTS = "value contains too many components"

GOOD = {
    "AE": ["STORE_SCP", " a ", "x" * 16, "é"],
    "AS": ["018M", "000D", "999Y", "001W"],
    "CS": ["CT", "A_B 9", " X", "_" * 16],
    "DA": ["20240229", "20240230", "20240102-20240103", "20240102 ", "00000000", "20241231 -"
           "20250101 "],
    "DS": ["1", "-1.5", "+.5", "1.", "1e5", "1.5E-10", " 1 ", "1234567890.12345", "0"],
    "DT": ["2024", "202412", "20241231", "2024123123", "202412312359", "20241231235960",
           "20241231235959.1", "20241231235959.123456+0100", "2024-1200", "2024+1400", "2024+0000",
           "20241231 "],
    "IS": ["0", "-1", "+12", "2147483647", "-2147483648", " 5", "5 ", "00000000000000000012"],
    "LO": ["x" * 64, "\x1b$B", "é ü", "a=b^c"],
    "LT": ["a\r\n\f\tb\\c", "\x0b\x1f", "x" * 10240],
    "PN": ["Test^Alpha", "a^b^c^d^e", "A^B=\u738b^\u5c0f=w^x", "=x", "x" * 64,
           "=".join(["x" * 64] * 3), "\x1b(B"],
    "SH": ["x" * 16, "\x1b"],
    "ST": ["\n" * 1024, "a\\b"],
    "TM": ["23", "2359", "235960", "235959.1", "235959.123456", "00", "1010 "],
    "UI": ["1", "0", "1.2.840.10008.1.2", "1.0.1", "1" * 64, "1.2 ", "1.2      ", "1" * 64 + " "],
    "UR": ["anything", "\x01" * 99],
    "UC": ["\0"],
    "UT": ["x" * 20_000],
    "UN": ["x"],
}  # fmt: skip

BAD = [
    ("AE", "x" * 17, TOO_LONG + " 16 characters"),
    ("AE", "  ", "value may not consist only of spaces"),
    ("AE", "a\nb", CONTROL),
    ("AE", "a\\b", CONTROL),
    ("AE", "a\x1bb", CONTROL),
    *(("AS", value, "value does not have pattern 000[DWMY]")
      for value in ("18M", "018m", "0180M", "018M ", "x", "٠٠٠D")),
    ("CS", "X" * 17, TOO_LONG + " 16 characters"),
    *(("CS", value, INVALID) for value in ("ct", "A-B", "X\0X", "É", "A\\B", "A\n")),
    *(("DA", value, DATE) for value in (
        "NotAValidStudyDate", "2024", "2024-01-02", "2024.01.02", "20240102-", "-20240102",
        "20240102-20240103-20240104", "20240102\n", " 20240102", "٢٠٢٤٠١٠٢", "20240102\0X")),
    ("DA", "20241301", "month component exceeds the value 12"),
    ("DA", "20240101-20241301", "month component exceeds the value 12"),
    ("DA", "20241232", "day component exceeds the value 31"),
    ("DA", "20249999", "month component exceeds the value 12"),
    ("DS", "1" * 17, TOO_LONG + " 16 characters"),
    *(("DS", value, "value is no decimal string")
      for value in ("x", "1,5", ".", "1e", "e5", "1 2", "NaN", "0x1", "--1", "1\n", "١", "+")),
    *(("DT", value, DATE_TIME) for value in (
        "202", "20241", "202413", "20240132", "2024010224", "202401022360", "20240102235961",
        "20240102235959.", "20240102235959.1234567", "2024-0000", "2024-1201", "2024+1401",
        "2024+14", "x", "2024 +0100", "20240102235959,1")),
    *(("IS", value, "value is not an integer string")
      for value in ("x", "1.0", "1e5", "- 1", "", "1 2", "1\n", "٣", "+") if value),
    *(("IS", value, "value too large to fit 32 bit integer")
      for value in ("2147483648", "-2147483649", "9" * 5000)),
    ("LO", "x" * 65, TOO_LONG + " 64 characters"),
    *(("LO", value, INVALID) for value in ("a\nb", "\0a", "\x7f", "\x85", "a\\b")),
    ("LT", "x" * 10241, TOO_LONG + " 10240 characters"),
    ("PN", "a=b=c=d", "value contains too many groups"),
    ("PN", "a^b^c^d^e^f", COMPONENTS),
    ("PN", "a=b^c^d^e^f^g", COMPONENTS),
    ("PN", "x" * 65, TOO_LONG + " 64 characters"),
    ("PN", "a=" + "x" * 65, TOO_LONG + " 64 characters"),
    ("PN", "a\nb", CONTROL),
    ("PN", "a=b\0c", CONTROL),
    ("SH", "x" * 17, TOO_LONG + " 16 characters"),
    *(("SH", value, INVALID) for value in ("a\tb", "a\\b")),
    ("ST", "x" * 1025, TOO_LONG + " 1024 characters"),
    *(("TM", value, TIME) for value in (
        "2", "235", "24", "2360", "235961", "235959.", "235959.1234567", "23:59", "x", " 12",
        "12\n", "٢٣", "1200-1300")),
    ("UI", "1" * 65, TOO_LONG + " 64 characters"),
    *(("UI", value, "value contains invalid characters other than '0'-'9' and '.'")
      for value in ("abc.123", "11|", "1 .2", "1-2", "٣", "1.2\n")),
    *(("UI", value, "components must not have leading zeros")
      for value in ("1.02.3", "01", "00", "1.00")),
    *(("UI", value, "a component can not be empty") for value in ("1..2", ".1", "1.", ".")),
]  # fmt: skip


@pytest.mark.parametrize(("vr", "value"), [(vr, value) for vr in GOOD for value in GOOD[vr]])
def test_full_rules_pass(vr, value):
    assert value_problem(vr, value) is None


@pytest.mark.parametrize("vr", VALID)
def test_empty_value_passes(vr):
    assert VALID[vr]("")


@pytest.mark.parametrize(("vr", "value", "tail"), BAD)
def test_full_rules_fail(vr, value, tail):
    found = value_problem(vr, value)
    assert found is not None
    assert found.startswith(tail)


@pytest.mark.parametrize(
    ("vr", "value", "tail"),
    [
        *((vr, "x" * 16, None) for vr in ("AE", "CS", "SH")),
        *((vr, "x" * 17, "Value length exceeds maximum length of 16.")
          for vr in ("AE", "CS", "SH")),
        *((vr, "a\nb\0", None) for vr in ("AE", "CS", "SH")),
        ("AS", "045Y", None),
        ("AS", "x   ", None),
        ("AS", "45Y", "Value length is not 4."),
        ("AS", "", "Value length is not 4."),
        ("LO", "x" * 64, None),
        ("LO", "\x1b", None),
        ("LO", "", None),
        ("LO", "x" * 65, "Value length exceeds maximum length of 64."),
        *(("LO", value, "Value contains invalid character.")
          for value in ("a\\b", "a\0", "\0a", "a\nb")),
        ("PN", "a^b=c=d", None),
        ("PN", "a\x1b", None),
        ("PN", "a=b=c=d", "Value contains too many component groups."),
        ("PN", "x" * 65, "Value length of a component group exceeds maximum length of 64."),
        ("PN", "a^b^c^d^e^f", "Value contains too many components."),
        ("PN", "a\0", "Value contains invalid character."),
        ("UI", "1.02.3", None),
        ("UI", "1..3 ", None),
        ("UI", "1" * 64, None),
        *(("UI", value, "Value is not an identifier") for value in ("a", "1.", "1" * 65, "1|2")),
        ("DA", "20240229", None),
        *(("DA", value, "Value cannot be parsed as a valid date.")
          for value in ("20230229", "2023", "20241301", "20240101-", "x", "00000101",
                        "20240101\0")),
        ("DT", "20240229101010.5+0100", None),
        ("DT", "x", "Value cannot be parsed as a valid DateTime."),
        ("TM", "101010.5", None),
        ("TM", "10:10", "Value cannot be parsed as a valid Time."),
        ("IS", "-5", None),
        ("IS", "5.0", "Value cannot be parsed as a valid integer string."),
        ("DS", "x", None),
        ("UT", "\0", None),
    ],
)  # fmt: skip
def test_minimum_rules(vr, value, tail):
    found = minimum_problem(vr, [value], len(value))
    assert (found is None) == (tail is None)
    if tail is not None:
        assert found.startswith(tail)


@pytest.mark.parametrize(
    ("vr", "size"), [("US", 2), ("SS", 2), ("UL", 4), ("SL", 4), ("FL", 4), ("FD", 8)]
)
def test_minimum_rules_of_binary_values(vr, size):
    assert minimum_problem(vr, None, size) is None
    assert minimum_problem(vr, None, 0) is None
    assert minimum_problem(vr, None, 3 * size) is None
    assert minimum_problem(vr, None, size - 1) == f"Value length is not {size}."


@pytest.mark.parametrize("vr", ["AE", "CS", "SH", "LO", "PN", "UI", "DA", "IS"])
def test_minimum_rules_of_no_value(vr):
    assert minimum_problem(vr, [], 0) is None
    assert minimum_problem(vr, None, 0) is None
    assert "maximum length" in minimum_problem(vr, None, 100_000)


def test_minimum_rules_look_at_the_first_value_only():
    assert minimum_problem("LO", ["a", "x" * 99], 101) is None


@pytest.mark.parametrize(
    ("tag", "good", "bad"),
    [
        (0x00080060, [1], [0, 2]),  # 1
        (0x00200032, [3], [1, 2, 4]),  # 3
        (0x00080008, [2, 3, 99], [0, 1]),  # 2-n
        (0x00081010, [1], [2]),
        (0x0018FFFF, [0, 1, 7], []),  # unknown
        (0x00091001, [0, 1, 7], []),  # private
        (0x30060050, [3, 6, 300], [1, 2, 4, 301]),  # 3-3n
        (0x60003000, [1], [2]),  # OverlayData, repeating group
    ],
)
def test_multiplicity(tag, good, bad):
    found = multiplicity(tag)
    assert [count for count in good + bad if found.allows(count)] == good


def test_every_multiplicity_of_the_dictionary_is_understood():
    from pydicom.datadict import DicomDictionary

    for tag, row in DicomDictionary.items():
        if tags.entry(tag) is not None:
            assert multiplicity(tag).text == row[1], f"{tag:08X}"
            assert multiplicity(tag).allows(multiplicity(tag).least)


VR_WITH_RULES = st.sampled_from(sorted(VALID))
VALUE = (
    st.text(max_size=30)
    | st.from_regex(r"[0-9.+^= eE-]{0,30}")
    | st.text("A =^\0\\\n", max_size=99)
)


@given(VR_WITH_RULES, VALUE)
def test_quick_test_and_explanation_agree(vr, value):
    if value and VALID[vr](value) and vr in ("AE", "DA", "DS", "IS", "PN", "UI"):
        assert _EXPLAINED[vr](value) is None or vr == "AE"
    value_problem(vr, value)
    minimum_problem(vr, [value], 1)


@pytest.mark.parametrize("vr", VALID)
@pytest.mark.parametrize("evil", [" ", "1", "1.", "0", "-", "^", "=", "a", "\\", "9e", ".0"])
def test_long_values_take_linear_time(vr, evil):
    began = time.process_time()
    value_problem(vr, evil * 200_000 + "!")
    assert time.process_time() - began < 1
