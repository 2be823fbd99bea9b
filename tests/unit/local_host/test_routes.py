from __future__ import annotations

import pytest

from local_host.routes import Hit, Route, RouteTable, Template, TemplateError, decode_path
from local_host.settings import HostError


def match(template: str, path: str) -> dict[str, str] | None:
    parts = path.strip("/").split("/") if path.strip("/") else []
    return Template.parse(template).match(parts)


def table(*rows: tuple[str, str, str]) -> RouteTable:
    return RouteTable(
        [
            Route(name, Template.parse(route), frozenset(methods.split()))
            for name, methods, route in rows
        ]
    )


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("health/check", "Health/CHECK", {}),
        ("health/check", "health", None),
        ("health/check", "health/check/more", None),
        ("{tenant}/v{version}/studies", "main/v2/studies", {"tenant": "main", "version": "2"}),
        ("{tenant}/v{version}/studies", "main/V2/Studies", {"tenant": "main", "version": "2"}),
        (
            "{tenant}/v{version}",
            "main/v1.0-prerelease",
            {"tenant": "main", "version": "1.0-prerelease"},
        ),
        ("{tenant}/v{version}", "main/v", None),
        ("{tenant}/v{version}", "main/x2", None),
        ("files/{name}.{ext}", "files/a.b.txt", {"name": "a.b", "ext": "txt"}),
        ("files/{*rest}", "files/a/b/c", {"rest": "a/b/c"}),
        ("files/{*rest}", "files", {}),
        ("a/{b?}", "a", {}),
        ("a/{b?}", "a/x", {"b": "x"}),
        ("a/{b?}", "a/x/y", None),
        ("", "", {}),
        ("", "a", None),
        ("frames/{n:int}", "frames/12", {"n": "12"}),
        ("frames/{n:int}", "frames/x", None),
        ("frames/{n:int}", "frames/99999999999", None),
        ("frames/{n:int:min(1)}", "frames/0", None),
        ("x/{a:alpha}", "x/abc", {"a": "abc"}),
        ("x/{a:alpha}", "x/ab1", None),
        ("x/{a:length(2,3)}", "x/abc", {"a": "abc"}),
        ("x/{a:length(2,3)}", "x/abcd", None),
        ("x/{a:length(2)}", "x/a", None),
        ("x/{a:maxlength(2)}", "x/abc", None),
        ("x/{a:minlength(2)}", "x/a", None),
        ("x/{a:range(1,5)}", "x/6", None),
        ("x/{a:max(5)}", "x/6", None),
        (
            "x/{a:guid}",
            "x/0f8fad5b-d9cb-469f-a165-70867728950e",
            {"a": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        ),
        ("x/{a:bool}", "x/TRUE", {"a": "TRUE"}),
        ("x/{a:long}", "x/99999999999", {"a": "99999999999"}),
    ],
)
def test_a_template_matches_as_asp_net_does(template, path, expected):
    assert match(template, path) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{a",
        "a}",
        "{*rest}/a",
        "{a?}/b",
        "x/{a=1}",
        "x/{a:regex(^a$)}",
        "{a}/{A}",
        "x{*rest}",
        "{a b}",
    ],
)
def test_a_template_that_is_not_understood_is_refused(template):
    with pytest.raises(TemplateError):
        Template.parse(template)


def test_the_more_exact_route_wins():
    routes = table(
        ("d", "GET", "{*rest}"),
        ("c", "GET", "a/{b}"),
        ("b", "GET", "a/{b:int}"),
        ("a", "GET", "a/new"),
    )
    assert routes.find("GET", "/a/new") == Hit("a")
    assert routes.find("GET", "/a/7") == Hit("b", {"b": "7"})
    assert routes.find("GET", "/a/x") == Hit("c", {"b": "x"})
    assert routes.find("GET", "/z/y") == Hit("d", {"rest": "z/y"})


def test_a_route_for_another_method_does_not_hide_one_that_is_less_exact():
    routes = table(("a", "POST", "a/new"), ("b", "GET", "a/{b}"))
    assert routes.find("GET", "/a/new") == Hit("b", {"b": "new"})


def test_a_wrong_method_gives_the_methods_of_all_routes_that_fit():
    routes = table(("a", "GET", "s/{x}"), ("b", "DELETE", "s/{x}"), ("c", "PUT", "t"))
    assert routes.find("POST", "/s/1") == {"GET", "DELETE"}
    assert routes.find("GET", "/u") == frozenset()


def test_head_is_not_implied_by_get():
    assert table(("a", "GET", "s")).find("HEAD", "/s") == {"GET"}


def test_a_route_without_methods_takes_all():
    routes = table(("a", "", "s"))
    assert routes.find("PATCH", "/s") == Hit("a")


@pytest.mark.parametrize("path", ["/s/1", "/s/1/"])
def test_one_slash_at_the_end_is_ignored(path):
    assert table(("a", "GET", "s/{x}")).find("GET", path) == Hit("a", {"x": "1"})


@pytest.mark.parametrize("path", ["//s/1", "/s//1", "/s/1//"])
def test_an_empty_segment_fits_no_parameter(path):
    assert table(("a", "GET", "s/{x}")).find("GET", path) == frozenset()


@pytest.mark.parametrize(
    ("first", "second"), [("s/{x}", "s/{y}"), ("S/a", "s/A"), ("{*x}", "{*y}")]
)
def test_two_functions_with_one_route_and_method_are_refused(first, second):
    with pytest.raises(HostError, match="functions a and b have the same route"):
        table(("a", "GET POST", first), ("b", "GET", second))


def test_one_route_with_different_methods_is_no_conflict():
    routes = table(("a", "GET", "s/{x}"), ("b", "POST", "s/{x}"))
    assert routes.find("POST", "/s/1") == Hit("b", {"x": "1"})


def test_an_order_that_azure_would_not_keep_is_refused():
    # the real host tries functions in the order of their names, exact or not
    with pytest.raises(HostError, match=r"function any .* would hide function new"):
        table(("any", "GET", "a/{b}"), ("new", "GET", "a/new"))


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/{b}", "a/new/{c}"), ("a/{b:int}", "a/new"), ("x/v{b}", "x/check"), ("a/{b}/c", "a/x/d")],
)
def test_routes_that_share_no_path_may_have_any_names(first, second):
    table(("a", "GET", first), ("b", "GET", second))
    table(("b", "GET", first), ("a", "GET", second))


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/a%20b", "/a b"),
        (b"/a%2Fb", "/a%2Fb"),
        (b"/a%2fb%20c", "/a%2fb c"),
        (b"/%C3%A9%2F%C3%A9", "/é%2Fé"),
        (b"/a%2520", "/a%20"),
        (b"/a%FFb", "/a%FFb"),
        (b"/a%zz", "/a%zz"),
        (b"/a%", "/a%"),
        (b"/a/../b", "/b"),
        (b"/a/./b/.", "/a/b/"),
        (b"/../../b", "/b"),
        (b"/a/%2e%2e/b", "/b"),
        (b"/a/..", "/"),
        (b"/a/..b/.c", "/a/..b/.c"),
        (b"/1.2.3/.4", "/1.2.3/.4"),
    ],
)
def test_a_path_is_decoded_once_and_an_escaped_slash_stays(raw, path):
    assert decode_path(raw) == path
