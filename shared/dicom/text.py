"""Text of a data set in its Specific Character Set (PS3.5 6.1, PS3.3 C.12.1.1.2).

Never an error: terms that nobody knows and bytes that no character has are read as well as they
can be, since an image must not be lost for a misspelt name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

_ESC: Final = 0x1B

_SINGLE: Final = {
    "": "ascii",
    "6": "ascii",
    "13": "shift_jis",  # its single-byte half is JIS X 0201
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "166": "tis_620",
    "203": "iso8859_15",
}
_MULTI: Final = {"58": "gb2312", "87": "iso2022_jp", "149": "euc_kr", "159": "iso2022_jp_2"}
_WHOLE: Final = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
"""Character sets without code extensions: bytes below 0x80 may be part of a character."""

_ESCAPES: Final = {
    # PS3.3 Tables C.12-3 and C.12-4. G0: two-byte sets, and ASCII to come back to
    b"(B": ("G0", "ascii"),
    b"(J": ("G0", "ascii"),  # JIS X 0201 Romaji: ASCII but for yen and overline
    b"$B": ("G0", "$B"),
    b"$(D": ("G0", "$(D"),
    # G1: bytes from 0x80
    b"-A": ("G1", "latin_1"),
    b"-B": ("G1", "iso8859_2"),
    b"-C": ("G1", "iso8859_3"),
    b"-D": ("G1", "iso8859_4"),
    b"-F": ("G1", "iso8859_7"),
    b"-G": ("G1", "iso8859_6"),
    b"-H": ("G1", "iso8859_8"),
    b"-L": ("G1", "iso8859_5"),
    b"-M": ("G1", "iso8859_9"),
    b"-T": ("G1", "tis_620"),
    b"-b": ("G1", "iso8859_15"),
    b")I": ("G1", "shift_jis"),
    b"$)A": ("G1", "gb2312"),
    b"$)C": ("G1", "euc_kr"),
}

_TERM: Final = re.compile(r"ISO[ _-]?(?:(?:IR|2022|2022[ _-]?IR)[ _-]?)?(\d+)", re.IGNORECASE)

# Where code extensions fall back to the first character set (PS3.5 6.1.2.5.3)
_RESET: Final = {
    "PN": re.compile(rb"[\\^=\t\n\f\r]"),
    "LT": re.compile(rb"[\t\n\f\r]"),
    "ST": re.compile(rb"[\t\n\f\r]"),
    "UT": re.compile(rb"[\t\n\f\r]"),
}
_DELIMITERS: Final = re.compile(r"([\\\\^=\t\n\f\r])")
_DESIGNATIONS: Final = {codec: escape for escape, (at, codec) in _ESCAPES.items() if at == "G1"}
_RESET_VALUES: Final = re.compile(rb"[\\\t\n\f\r]")


class CharacterSet(NamedTuple):
    """How to read text.

    Parameters
    ----------
    codec : str
        Python's name of the codec of the first character set.
    others : tuple of str
        Codecs of the further ones, for text that lacks its escape sequences.
    """

    codec: str = "ascii"
    others: tuple[str, ...] = ()


class UnfitText(Exception):
    """A text has letters that the character set lacks."""


DEFAULT: Final = CharacterSet()
"""The default repertoire, ISO-IR 6."""


@lru_cache(maxsize=256)
def character_set(value: bytes) -> CharacterSet:
    """The character set that a value of (0008,0005) asks for; unknown terms count as absent."""
    terms = [term.strip(" \0") for term in value.decode("latin_1").split("\\")]
    codecs = [_codec(term) for term in terms]
    known = [codec for codec in codecs if codec is not None]
    if not known:
        return DEFAULT
    first = codecs[0] if codecs[0] is not None else "ascii"
    if first in _WHOLE.values():
        return CharacterSet(first)
    if first.startswith("iso2022"):
        first = "ascii"  # a two-byte set cannot be the first one: it is reached by its escape
    return CharacterSet(first, tuple(codec for codec in known if codec != first))


def _codec(term: str) -> str | None:
    upper = term.upper().replace("ISO 2022 GBK", "GBK").replace("ISO_IR GBK", "GBK")
    if upper in _WHOLE:
        return _WHOLE[upper]
    if not upper:
        return "ascii"
    match = _TERM.fullmatch(upper)
    if match is None:
        return None
    number = match.group(1)
    return {"192": "utf_8"}.get(number) or _SINGLE.get(number) or _MULTI.get(number)


def decode(raw: bytes, charset: CharacterSet, vr: str = "LO") -> str:
    """The text of a whole value, delimiters included, for any bytes whatever.

    Parameters
    ----------
    raw : bytes
        As in the file.
    charset : CharacterSet
        Of the data set or of the nearest item that has its own.
    vr : str
        Decides which delimiters end code extensions.
    """
    if raw.isascii() and _ESC not in raw:
        return raw.decode("ascii")
    if _ESC in raw and charset.codec not in _WHOLE.values():
        return _decode_extended(raw, charset, _RESET.get(vr, _RESET_VALUES))
    return _decode_single(raw, charset)


def encode(text: str, charset: CharacterSet, vr: str = "LO") -> bytes:
    """The bytes of a whole value, delimiters included, which ``decode`` reads again.

    Raises
    ------
    UnfitText
        The character set lacks a letter.
    """
    if text.isascii():
        return text.encode("ascii")
    pieces = [_encoded_piece(piece, charset) for piece in _DELIMITERS.split(text)]
    raw = b"".join(pieces)
    if decode(raw, charset, vr) != text:
        raise UnfitText
    return raw


def _encoded_piece(piece: str, charset: CharacterSet) -> bytes:
    """What is between two delimiters, which bring the first character set back."""
    for codec in (charset.codec, *charset.others):
        try:
            raw = piece.encode(codec)
        except UnicodeEncodeError:
            continue
        if codec == charset.codec or raw.isascii():
            return raw  # two-byte sets of G0 bring their escapes with them
        escape = _DESIGNATIONS.get(codec)
        if escape is not None:
            return b"\x1b" + escape + raw
    raise UnfitText


def _decode_single(raw: bytes, charset: CharacterSet) -> str:
    """Text without escape sequences."""
    if charset.codec != "ascii":
        return raw.decode(charset.codec, "replace")
    if raw.isascii():
        return raw.decode("ascii")
    # Bytes that the declared set does not have: as UTF-8 if they are, else by what else is named.
    for codec in ("utf_8", *charset.others):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin_1")


def _decode_extended(raw: bytes, charset: CharacterSet, reset: re.Pattern[bytes]) -> str:
    """Text with ISO 2022 escape sequences (PS3.5 6.1.2.5)."""
    pieces = raw.split(b"\x1b")
    out = [_decode_single(pieces[0], charset)] if pieces[0] else []
    g0, g1 = "ascii", charset.codec
    for piece in pieces[1:]:
        sequence = _escape(piece)
        if sequence is None:
            out.append("\x1b")  # not an escape that DICOM knows: leave it to be seen
            rest = piece
        else:
            rest = piece[len(sequence) :]
            register, codec = _ESCAPES[sequence]
            if register == "G0":
                g0 = codec
            else:
                g1 = codec
        if g0 == "ascii":
            text, g1 = _decode_g1(rest, g1, charset, reset)
        else:
            text, g0 = _decode_g0(rest, g0, g1)
        out.append(text)
    return "".join(out)


def _escape(piece: bytes) -> bytes | None:
    for length in (2, 3):
        if piece[:length] in _ESCAPES:
            return piece[:length]
    return None


def _decode_g1(
    piece: bytes, codec: str, charset: CharacterSet, reset: re.Pattern[bytes]
) -> tuple[str, str]:
    """Text up to the next escape while G0 is ASCII; a delimiter brings the first set back."""
    end = reset.search(piece)
    if end is None or codec == charset.codec:
        return _decode_with(piece, codec, charset), codec
    head = _decode_with(piece[: end.start()], codec, charset)
    return head + _decode_single(piece[end.start() :], charset), charset.codec


def _decode_with(piece: bytes, codec: str, charset: CharacterSet) -> str:
    return _decode_single(piece, charset) if codec == "ascii" else piece.decode(codec, "replace")


def _decode_g0(piece: bytes, g0: str, g1: str) -> tuple[str, str]:
    """Text up to the next escape while G0 has two-byte characters; a control character ends it."""
    end = next((at for at, byte in enumerate(piece) if byte < 0x20), len(piece))
    wide = bytes(byte & 0x7F for byte in piece[:end])
    text = (b"\x1b" + g0.encode() + wide + b"\x1b(B").decode("iso2022_jp_2", "replace")
    if end == len(piece):
        return text, g0
    rest = piece[end:].decode("latin_1" if g1 == "ascii" else g1, "replace")
    return text + rest, "ascii"
