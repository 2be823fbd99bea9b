"""Rendering parameters: what they mean, and which are refused by name."""

from __future__ import annotations

import pytest

from shared.errors import MalformedQuery
from shared.render.parameters import Viewport, Window, parse_rendering


def test_all_parameters() -> None:
    asked = parse_rendering(
        [
            ("Quality", "75"),
            ("viewport", "256, 128,,10,-20,30.5"),
            ("window", "40,400,LINEAR_EXACT"),
            ("iccprofile", "sRGB"),
            ("annotation", "technique,patient,moon"),
            ("accept", "image/png"),
            ("charset", "utf-8"),
            ("", "nameless"),
        ]
    )
    how = asked.rendering
    assert how.quality == 75
    assert how.viewport == Viewport(256, 128, 0, 10, -20, 30.5)
    assert how.window == Window(40, 400, "linear-exact")
    assert how.icc_profile == "srgb"
    assert how.annotations == ("patient", "technique")
    assert asked.unsupported == ("moon",)
    assert asked.accept == "image/png"


@pytest.mark.spec("dicomweb", 132)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("quality", value) for value in ("0", "101", "-1", "1.5", "x", "", "١", "9" * 400)),
        ("quality", "0000001001"),
        *(("viewport", value) for value in ("1", "0,1", "1,1,1", "x,y", "9000,1", "1.5,1", "-1,1")),
        *(("viewport", f"10,10,{rest}") for rest in ("-1,0,1,1", "0,0,0,1", "0,0,1,nan", "1,1,1")),
        *(("window", value) for value in ("1,2", "1,2,cubic", "1,0,sigmoid", "1,0.5,linear")),
        *(("window", value) for value in ("inf,2,linear", "a,2,linear", "1,-2,linear-exact", "")),
        ("iccprofile", "adobergb"),
        ("contrast", "high"),
    ],
)
def test_what_is_malformed_or_unknown_is_named(name: str, value: str) -> None:
    with pytest.raises(MalformedQuery, match=name):
        parse_rendering([(name, value)])


def test_nothing_is_given_twice() -> None:
    with pytest.raises(MalformedQuery, match="quality"):
        parse_rendering([("quality", "1"), ("QUALITY", "1")])


def test_a_thumbnail_has_a_viewport_only() -> None:
    assert parse_rendering([], thumbnail=True).rendering.viewport == Viewport(128, 128)
    small = parse_rendering([("viewport", "20,30")], thumbnail=True).rendering
    assert small.viewport == Viewport(20, 30)
    for name, value in (("quality", "5"), ("window", "1,2,linear"), ("viewport", "1,1,1,1,1,1")):
        with pytest.raises(MalformedQuery, match=name):
            parse_rendering([(name, value)], thumbnail=True)
