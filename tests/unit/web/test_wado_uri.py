"""WADO-URI's parameters: what they mean, and which are refused by name."""

from __future__ import annotations

import pytest

from shared.errors import BadRequest
from shared.web.wado_uri import parse_wado_uri

_UIDS = {"requestType": "WADO", "studyUID": "1.2 ", "seriesUID": "1.3", "objectUID": "1.4"}


def test_all_parameters() -> None:
    asked = parse_wado_uri(
        [
            *_UIDS.items(),
            ("contentType", "image/png,image/jpeg"),
            ("frameNumber", "3"),
            ("rows", "100"),
            ("columns", "200"),
            ("region", "0,0.25,0.5,1"),
            ("windowCenter", "-10.5"),
            ("windowWidth", "400"),
            ("imageQuality", "50"),
            ("annotation", "patient"),
            ("anonymize", "no"),
            ("transfersyntax", "1.2.840.10008.1.2.1"),
            ("charset", "utf-8"),
        ]
    )
    assert (asked.study, asked.series, asked.instance) == ("1.2", "1.3", "1.4")
    assert asked.content_types == "image/png,image/jpeg"
    assert (asked.frame, asked.rows, asked.columns, asked.quality) == (3, 100, 200, 50)
    assert asked.region == (0, 0.25, 0.5, 1)
    assert asked.window == (-10.5, 400)
    assert asked.annotations == "patient"
    assert asked.transfer_syntax == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("missing", _UIDS)
def test_what_is_required_is_named(missing: str) -> None:
    with pytest.raises(BadRequest, match=missing):
        parse_wado_uri([item for item in _UIDS.items() if item[0] != missing])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("frameNumber", value) for value in ("0", "-1", "x", "", "1.5", "9" * 30)),
        *((name, "9000") for name in ("rows", "columns")),
        *(("imageQuality", value) for value in ("0", "101")),
        *(("region", value) for value in ("0,0,1", "0,0,0,1", "0,0,2,1", "a,0,1,1", "-1,0,1,1")),
        *(("windowCenter", value) for value in ("1", "nan", "1,2")),
        ("windowWidth", "5"),
        ("anonymize", "yes"),
        ("presentationUID", "1.2"),
        ("transferSyntax", "explicit"),
        ("contrast", "1"),
    ],
)
def test_what_is_malformed_unknown_or_not_supported_is_named(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=name):
        parse_wado_uri([*_UIDS.items(), (name, value)])
    with pytest.raises(BadRequest, match="once"):
        parse_wado_uri([*_UIDS.items(), ("charset", "a"), ("CHARSET", "b")])


@pytest.mark.parametrize("value", ["0", "-1", "x", "1,2"])
def test_a_window_is_two_numbers(value: str) -> None:
    with pytest.raises(BadRequest, match="window"):
        parse_wado_uri([*_UIDS.items(), ("windowCenter", "1"), ("windowWidth", value)])
