"""Route templates as ASP.NET Core matches them, and the table of all routes of an app.

Known difference: where the path matches a route but the method does not, the table says so
(405 with ``Allow``). The real host makes the method a constraint of the route and gives 404.

References
----------
Microsoft.AspNetCore.Routing ``TemplateMatcher``, ``RoutePrecedence``; azure-functions-host
``WebScriptHostHttpRoutesManager`` (functions are tried in the order of their names).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from local_host.settings import HostError

_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_PART = re.compile(r"\{([^{}]+)\}")
_LITERAL, _CONSTRAINED, _PARAMETER, _CONSTRAINED_REST, _REST = 1, 2, 3, 4, 5

Check = Callable[[str], bool]


class TemplateError(HostError):
    """A route template that this host does not understand."""


# Constraints ------------------------------------------------------------------------------


def _number(low: int, high: int) -> Check:
    def check(value: str) -> bool:
        return re.fullmatch(r"[+-]?\d{1,19}", value) is not None and low <= int(value) <= high

    return check


def _matches(pattern: str) -> Check:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda value: compiled.fullmatch(value) is not None


def _length(low: int, high: int) -> Check:
    return lambda value: low <= len(value) <= high


_UNBOUNDED = 1 << 62
_SIMPLE: dict[str, Check] = {
    "int": _number(-(2**31), 2**31 - 1),
    "long": _number(-(2**63), 2**63 - 1),
    "alpha": _matches("[a-z]*"),
    "bool": _matches("true|false"),
    "guid": _matches(r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?"),
    "required": _matches(".+"),
}
_WITH_NUMBERS: dict[tuple[str, int], Callable[..., Check]] = {
    ("length", 1): lambda size: _length(size, size),
    ("length", 2): _length,
    ("minlength", 1): lambda size: _length(size, _UNBOUNDED),
    ("maxlength", 1): lambda size: _length(0, size),
    ("min", 1): lambda low: _number(low, 2**63 - 1),
    ("max", 1): lambda high: _number(-(2**63), high),
    ("range", 2): _number,
}


def _constraint(text: str, template: str) -> Check:
    name, _, rest = text.partition("(")
    if not rest and name.lower() in _SIMPLE:
        return _SIMPLE[name.lower()]
    numbers = [part.strip() for part in rest.removesuffix(")").split(",")]
    make = _WITH_NUMBERS.get((name.lower(), len(numbers)))
    if make is None or not all(re.fullmatch(r"-?\d+", number) for number in numbers):
        raise TemplateError(f"route {template!r}: the constraint {text!r} is not supported")
    return make(*(int(number) for number in numbers))


# Templates --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a template between slashes.

    ``literal`` is set where the segment has no parameter. ``rank`` orders by how exact it is.
    """

    rank: int
    pattern: re.Pattern[str]
    literal: str | None = None
    checks: tuple[tuple[str, Check], ...] = ()
    optional: bool = False

    @property
    def rest(self) -> bool:
        """Whether the segment takes all of the path that remains."""
        return self.rank >= _CONSTRAINED_REST

    def match(self, text: str) -> dict[str, str] | None:
        """The parameters, or ``None`` where the text does not fit."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = found.groupdict()
        fits = all(check(values[name]) for name, check in self.checks)
        return values if fits else None

    def overlaps(self, other: Segment) -> bool:
        """Whether some text may fit both."""
        if self.literal is not None:
            return other.match(self.literal) is not None
        return other.literal is None or self.match(other.literal) is not None


def _segment(text: str, template: str, *, last: bool) -> Segment:
    if "{" not in text and "}" not in text:
        return Segment(_LITERAL, re.compile(re.escape(text), re.IGNORECASE), text)
    pattern, position = "", 0
    checks: list[tuple[str, Check]] = []
    whole = optional = rest = False
    for found in _PART.finditer(text):
        literal = text[position : found.start()]
        pattern += re.escape(literal)
        position = found.end()
        name, *constraints = found.group(1).split(":")
        whole = found.group(0) == text
        optional = found.group(1).endswith("?")
        rest = name.startswith("*")
        constraints = [one.removesuffix("?") for one in constraints]
        name = name.lstrip("*").removesuffix("?")
        if not re.fullmatch(r"\w+", name) or "=" in found.group(1):
            raise TemplateError(f"route {template!r}: {found.group(0)} is not supported")
        if (optional or rest) and not (whole and last):
            raise TemplateError(f"route {template!r}: {found.group(0)} must be the last segment")
        checks += [(name, _constraint(one, template)) for one in constraints]
        pattern += f"(?P<{name}>{'.*' if rest else '.+'})"
    pattern += re.escape(text[position:])
    if "{" in _PART.sub("", text) or "}" in _PART.sub("", text):
        raise TemplateError(f"route {template!r}: unbalanced braces")
    rank = _CONSTRAINED if checks or not whole else _PARAMETER
    if rest:
        rank = _CONSTRAINED_REST if checks else _REST
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return Segment(rank, compiled, None, tuple(checks), optional)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed route template."""

    text: str
    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Parse a template; a leading slash is ignored."""
        parts = text.strip("/").split("/") if text.strip("/") else []
        last = len(parts) - 1
        segments = tuple(_segment(part, text, last=i == last) for i, part in enumerate(parts))
        names = [name for one in segments for name in one.pattern.groupindex]
        if len({name.lower() for name in names}) != len(names):
            raise TemplateError(f"route {text!r}: a parameter name occurs twice")
        return cls(text, segments)

    @property
    def precedence(self) -> tuple[int, ...]:
        """Sort key: literal before constrained, before parameter, before rest."""
        return tuple(segment.rank for segment in self.segments)

    def match(self, parts: Sequence[str]) -> dict[str, str] | None:
        """Parameters of a split path, or ``None``. Absent optional ones are left out."""
        values: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.rest:
                text = "/".join(parts[index:])
            elif index < len(parts):
                text = parts[index]
            elif segment.optional:
                return values
            else:
                return None
            if segment.rest and not text:
                return values
            found = segment.match(text)
            if found is None:
                return None
            values |= found
        takes_all = bool(self.segments) and self.segments[-1].rest
        return values if takes_all or len(parts) <= len(self.segments) else None

    def overlaps(self, other: Template) -> bool:
        """Whether some path may fit both templates."""
        for mine, theirs in zip(self.segments, other.segments, strict=False):
            if mine.rest or theirs.rest:
                return True
            if not mine.overlaps(theirs):
                return False
        shorter = min(len(self.segments), len(other.segments))
        remaining = (*self.segments[shorter:], *other.segments[shorter:])
        return all(segment.optional or segment.rest for segment in remaining)


# Paths ------------------------------------------------------------------------------------


def decode_path(raw: bytes) -> str:
    """A request path, percent-decoded once as Kestrel does.

    ``%2F`` stays as written, so that it never divides segments; a sequence that is not UTF-8
    stays as written too. Dot segments are removed.
    """

    def decode(found: re.Match[bytes]) -> bytes:
        pieces = re.split(rb"(%2[Ff])", found.group(0))
        return b"".join(
            piece if index % 2 else _utf8_or_as_written(piece) for index, piece in enumerate(pieces)
        )

    path = _ESCAPES.sub(decode, raw).decode("utf-8", "replace")
    return _without_dots(path) if "/." in path else path


def _utf8_or_as_written(piece: bytes) -> bytes:
    octets = bytes.fromhex(piece.replace(b"%", b"").decode("ascii"))
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return piece
    return octets


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept) or "/"


# Table ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Route:
    """A function at its template. No ``methods`` means all methods."""

    function: str
    template: Template
    methods: frozenset[str] = frozenset()

    def takes(self, method: str) -> bool:
        return not self.methods or method in self.methods

    def shares_method(self, other: Route) -> bool:
        return not self.methods or not other.methods or bool(self.methods & other.methods)


@dataclass(frozen=True, slots=True)
class Hit:
    """A request's function and its path parameters."""

    function: str
    parameters: dict[str, str] = field(default_factory=dict)


class RouteTable:
    """All routes of an app, the most exact first.

    Raises
    ------
    HostError
        Two functions have the same route and method, or the order in which the real host would
        try them differs from the order by exactness.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: route.template.precedence)
        for index, first in enumerate(self._routes):
            for second in self._routes[index + 1 :]:
                _refuse_conflict(first, second)

    def find(self, method: str, path: str) -> Hit | frozenset[str]:
        """The function that answers.

        Returns
        -------
        Hit | frozenset[str]
            The function, or else the methods that the path allows: none where no route fits.
        """
        parts = path.removeprefix("/").removesuffix("/").split("/")
        parts = [] if parts == [""] else parts
        allowed: set[str] = set()
        for route in self._routes:
            parameters = route.template.match(parts)
            if parameters is None:
                continue
            if route.takes(method):
                return Hit(route.function, parameters)
            allowed |= route.methods
        return frozenset(allowed)


def _refuse_conflict(first: Route, second: Route) -> None:
    if not first.shares_method(second) or not first.template.overlaps(second.template):
        return
    methods = ", ".join(sorted(first.methods & second.methods)) or "all methods"
    if first.template.precedence == second.template.precedence and _same(first, second):
        raise HostError(
            f"functions {first.function} and {second.function} have the same route "
            f"{second.template.text!r} for {methods}"
        )
    if first.function.upper() > second.function.upper():
        raise HostError(
            f"function {second.function} (route {second.template.text!r}) would hide function "
            f"{first.function} (route {first.template.text!r}) in Azure: the host there tries "
            "functions in the order of their names. Rename one so that the more exact route "
            "sorts first"
        )


def _same(first: Route, second: Route) -> bool:
    def shape(route: Route) -> list[str]:
        return [re.sub(r"\{[*]?\w+", "{", part.lower()) for part in route.template.text.split("/")]

    return shape(first) == shape(second)
