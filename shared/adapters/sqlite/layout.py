"""Tables, columns and indexes of the SQLite body.

One table a container::

    row    integer key
    pk     partition key        id    document id        etag
    odd    1 where SQLite's JSON functions would misread the body (see ``encode_body``)
    ...    one column a path that is searched often, with the value at that path
    terms  the member ``q`` once more, where the container has one: small, so a search by a
           rare tag reads no whole bodies
    body   the document as JSON text

Columns and terms repeat the body. So a file that was made with other columns is rebuilt from the
bodies when it is opened. Columns have no declared type, hence no affinity: SQLite then compares
values without converting them, and ``1`` is not ``"1"``.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field

from shared.adapters.commits import encode
from shared.index.schema import CHANGES, CONTAINERS, CONTROL, INDEX, WORKLIST, ContainerSchema
from shared.ports import Json, JsonObject
from shared.where import Order, Path, Scalar

TRUE = b"\x01"
FALSE = b"\x00"
ARRAY = b"\x02"
OBJECT = b"\x03"
_EDGE = "\x1e"

SqlValue = str | int | float | bytes | None


@dataclass(frozen=True, slots=True)
class TableIndex:
    """An index. ``rows`` estimates how many rows share the first 1, 2 … of its columns.

    ``present`` limits it to rows that have that path.
    """

    keys: tuple[Order, ...]
    rows: tuple[int, ...]
    present: Path | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The table of one container. ``columns`` maps each path to its quoted column."""

    schema: ContainerSchema
    columns: dict[Path, str]
    indexes: tuple[TableIndex, ...]
    has_terms: bool
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", quoted(self.schema.name))


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _keys(*paths: Path | Order) -> tuple[Order, ...]:
    return tuple(path if isinstance(path, Order) else Order(path) for path in paths)


_TYPE: Path = ("type",)
_PARTITION: Path = ("partition",)
_ID: Path = ("id",)
_PATIENT_NAME: Path = ("q", "00100010")
_NEWEST = Order(("version",), descending=True)
_MANY = 300_000


def _by_term(term: Path, rows: int) -> TableIndex:
    """Index for a search by one term: holds the sort keys too, so no row is read in vain."""
    keys = _keys(_TYPE, _PARTITION, term, _NEWEST, _ID)
    return TableIndex(keys, (_MANY, _MANY, rows, 1, 1), present=term)


_WORDS: Path = (*_PATIENT_NAME, "words")
_MODALITIES: Path = ("q", "00080061")  # ModalitiesInStudy

_SEARCH_TERMS = {
    ("q", "00100020"): 30,  # PatientID
    ("q", "00080020"): 300,  # StudyDate
    ("q", "00080050"): 30,  # AccessionNumber
    ("q", "0020000D"): 30,  # StudyInstanceUID
    ("q", "0020000E"): 20,  # SeriesInstanceUID
    ("q", "00080018"): 1,  # SOPInstanceUID
    (*_PATIENT_NAME, "full"): 30,  # PatientName
}

_INDEXES: dict[str, tuple[TableIndex, ...]] = {
    INDEX.name: (
        # the newest first, with what a search looks for inside a term: it stops when a page is
        # full, and reads no rows in vain until then
        TableIndex(
            _keys(_TYPE, _PARTITION, _NEWEST, _ID, _WORDS, _MODALITIES),
            (_MANY, _MANY, 1, 1, 1, 1),
        ),
        TableIndex(_keys(_TYPE, _NEWEST, _ID), (_MANY, 1, 1)),
        TableIndex(_keys(_TYPE, ("due",), _ID), (1_000, 2, 1), present=("due",)),
        TableIndex(_keys(_TYPE, ("spreading",), _ID), (_MANY, 100, 1), present=("spreading",)),
        *(_by_term(path, rows) for path, rows in _SEARCH_TERMS.items()),
    ),
    CHANGES.name: (
        TableIndex(_keys(("bucket",), ("sequence",)), (100_000, 1)),
        TableIndex(_keys(("bucket",), ("timestamp",)), (100_000, 2)),
        TableIndex(_keys(_TYPE, ("sequence",)), (_MANY, 1)),
        TableIndex(_keys(_TYPE, ("timestamp",)), (_MANY, 2)),
    ),
    WORKLIST.name: (
        TableIndex(_keys(_TYPE, _PARTITION, _NEWEST, _ID), (_MANY, _MANY, 1, 1)),
        TableIndex(_keys(("due",), _ID), (2, 1), present=("due",)),
    ),
    CONTROL.name: (TableIndex(_keys(("kind",), ("key",)), (1_000, 1)),),
}

_TOTAL_ROWS = 1_000_000
_ROWS_IN_PARTITION = {INDEX.name: 200, CHANGES.name: 100_000, WORKLIST.name: 2, CONTROL.name: 1_000}


def _table(schema: ContainerSchema) -> Table:
    columns: dict[Path, str] = {(schema.partition_key,): quoted("pk"), _ID: quoted("id")}
    paths = [path for path in schema.indexed if path != ("q",)]
    for index in _INDEXES[schema.name]:
        paths.extend(key.path for key in index.keys)
    for path in paths:
        columns.setdefault(path, quoted(".".join(path)))
    return Table(schema, columns, _INDEXES[schema.name], has_terms=("q",) in schema.indexed)


TABLES: dict[str, Table] = {name: _table(schema) for name, schema in CONTAINERS.items()}


def value_columns(table: Table) -> list[tuple[Path, str]]:
    """The paths that have a column of their own, and that column."""
    own = {quoted("pk"), quoted("id")}
    return [(path, column) for path, column in table.columns.items() if column not in own]


def create_table(table: Table) -> list[str]:
    """Statements that create a table and its indexes."""
    columns = ['"row" INTEGER PRIMARY KEY', '"pk" NOT NULL', '"id" NOT NULL', '"etag" NOT NULL']
    columns += ['"odd" NOT NULL', *(column for _, column in value_columns(table))]
    columns += ['"terms"'] if table.has_terms else []
    statements = [
        f'CREATE TABLE {table.name} ({", ".join(columns)}, "body" NOT NULL)',
        f'CREATE UNIQUE INDEX {_index_name(table, 0)} ON {table.name} ("pk", "id")',
    ]
    for number, index in enumerate(table.indexes, 1):
        keys = ", ".join(
            table.columns[key.path] + (" DESC" if key.descending else "") for key in index.keys
        )
        where = f" WHERE {table.columns[index.present]} IS NOT NULL" if index.present else ""
        name = _index_name(table, number)
        statements.append(f"CREATE INDEX {name} ON {table.name} ({keys}){where}")
    return statements


def _index_name(table: Table, number: int) -> str:
    return quoted(f"{table.schema.name} {number}")


def statistics(table: Table) -> list[tuple[str, str, str]]:
    """Rows of ``sqlite_stat1``.

    Fixed ones, of a large archive: so the plan of a query does not depend on what was stored
    when ``ANALYZE`` last ran, and no ``ANALYZE`` is ever needed.
    """
    rows = [f"{_TOTAL_ROWS} {_ROWS_IN_PARTITION[table.schema.name]} 1"]
    rows += [f"{_TOTAL_ROWS} " + " ".join(map(str, index.rows)) for index in table.indexes]
    return [
        (table.schema.name, f"{table.schema.name} {number}", row) for number, row in enumerate(rows)
    ]


def fingerprint() -> int:
    """A positive number that changes with the layout; kept as the file's ``user_version``."""
    text = "\n".join(repr((create_table(table), statistics(table))) for table in TABLES.values())
    return zlib.crc32(text.encode()) & 0x7FFF_FFFF or 1


# Values -----------------------------------------------------------------------------------


def value_at(body: Json, path: Path) -> Json:
    """The value at a path, or ``None``."""
    for name in path:
        if not isinstance(body, dict):
            return None
        body = body.get(name)
    return body


def sql_text(text: str) -> str:
    """Text that SQLite can hold: a lone surrogate becomes a question mark."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def sql_scalar(value: Scalar) -> str | int | float | bytes:
    """A scalar such that values of different JSON types never compare equal."""
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, str):
        return sql_text(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def sql_value(value: Json) -> SqlValue:
    """The content of a column: a scalar, an array with its elements, or a mark for an object."""
    if value is None:
        return None
    if isinstance(value, dict):
        return OBJECT
    if isinstance(value, list):
        elements = "".join(
            _element(element) for element in value if isinstance(element, str | int | float)
        )
        return ARRAY + elements.encode()
    return sql_scalar(value)


def element_bytes(value: Scalar) -> bytes:
    """What a column holds of one element of an array. JSON text has no raw control character."""
    return _element(value).encode()


def _element(value: Scalar) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{_EDGE}{json.dumps(value)}{_EDGE}"


def encode_body(body: JsonObject) -> tuple[str, bool]:
    """JSON text of a body, and whether SQLite's own JSON functions would misread it.

    They end a text at NUL, and compare a name with an escape in it as written. The rest, even
    lone surrogates, they keep as it is.
    """
    text = encode(body)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":"), allow_nan=False), True
    return text, "\\u0000" in text
