import pytest

from shared.dicom import attributes, tags
from shared.dicom.attributes import (
    ALL_RETURN,
    ATTRIBUTES_OF_LEVEL,
    COMPUTED,
    CORE_TAGS,
    DEFAULT_RETURN,
    INDEXED_ATTRIBUTES,
    LEVEL_OF,
    LEVELS,
    SEARCH_KEYS,
    STANDARD_KEYS,
    VALIDATED,
    keyword_of,
    vr_of,
)


@pytest.mark.parametrize("key", SEARCH_KEYS.values(), ids=lambda key: key.keyword)
def test_search_keys_agree_with_the_dictionary(key):
    entry = tags.entry(key.tag)
    assert entry is not None
    assert (key.keyword, key.vr) == (entry.keyword, entry.vr)
    assert key.level in LEVELS
    if len(key.path) > 1:
        assert vr_of(key.path[0]) == "SQ"


def test_search_keys_are_counted():
    """Spec §4.2 and what PS3.18 Table 10.6.1-5 adds (bug report 43)."""
    assert len(CORE_TAGS) == 14
    assert {key.keyword for key in STANDARD_KEYS.values()} == {
        "StudyTime", "StudyID", "SeriesNumber", "PerformedProcedureStepStartTime",
        "ScheduledProcedureStepID", "RequestedProcedureID", "SOPClassUID", "InstanceNumber",
    }  # fmt: skip
    assert all(key.core for key in CORE_TAGS.values())
    assert not any(key.core for key in STANDARD_KEYS.values())


@pytest.mark.parametrize(
    ("found", "count"),
    [
        (DEFAULT_RETURN[1, "study"], 13),
        (DEFAULT_RETURN[1, "series"], 8),
        (DEFAULT_RETURN[1, "instance"], 10),
        (DEFAULT_RETURN[2, "study"], 8),
        (DEFAULT_RETURN[2, "series"], 4),
        (DEFAULT_RETURN[2, "instance"], 1),
        (ALL_RETURN["study"], 24),
        (ALL_RETURN["series"], 13),
        (ALL_RETURN["instance"], 10),
    ],
)
def test_returned_sets_are_counted(found, count):
    assert len(found) == count
    assert all(keyword_of(tag) for tag in found)


def test_all_contains_both_defaults():
    for level in LEVELS:
        assert DEFAULT_RETURN[1, level] | DEFAULT_RETURN[2, level] <= ALL_RETURN[level]


def test_index_keeps_what_is_searched_and_returned_and_computes_the_rest():
    for level in LEVELS:
        assert ALL_RETURN[level] <= ATTRIBUTES_OF_LEVEL[level]
        for key in SEARCH_KEYS.values():
            if key.level == level and key.tag not in COMPUTED:
                assert key.path[0] in ATTRIBUTES_OF_LEVEL[level]
    assert set(LEVEL_OF) == INDEXED_ATTRIBUTES
    assert not INDEXED_ATTRIBUTES & COMPUTED.keys()
    assert LEVEL_OF[attributes.SPECIFIC_CHARACTER_SET] == "study"
    assert LEVEL_OF[attributes.MODALITY] == "series"
    assert LEVEL_OF[0x00280010] == "instance"


def test_computed_attributes_agree_with_the_dictionary():
    for tag, (keyword, vr, _) in COMPUTED.items():
        assert (keyword_of(tag), vr_of(tag)) == (keyword, vr)


def test_validated_are_the_core_tags_that_files_carry():
    assert set(CORE_TAGS) - set(VALIDATED) == {attributes.MODALITIES_IN_STUDY}


def test_keyword_and_vr_of_unknown_tags():
    assert keyword_of(0x00091001) is None
    assert vr_of(0x00091001) is None
    assert keyword_of(0x0018FFFF) is None
    assert vr_of(0x00280106) == "US"
