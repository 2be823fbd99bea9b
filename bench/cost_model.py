"""What the index costs in request units and time, and the service in money. ``dev.py bench cost``.

Measured: the documents and operations of a store (``cost_documents.py``). Assumed: everything in
``Assumptions``, each with its source. Prices: a JSON file, ``--prices``. Printed: the tables of
``docs/cost.md``; ``--write`` puts them there, and a test compares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from bench.cost_documents import Measured, Shape, measure

ROOT = Path(__file__).resolve().parents[1]
PRICES = ROOT / "bench" / "prices.json"
DOCUMENT = ROOT / "docs" / "cost.md"
_HOURS, _DAYS = 730, 30.4
_REQUEST_UNITS_A_PARTITION = 10_000
_LEAST_AUTOSCALE = 1_000
_RU_A_GB = 10
_SERVERLESS_GB, _SERVERLESS_RU = 1_000, 20_000


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the model takes for granted; ``docs/cost.md`` says where each comes from."""

    read_ru: float = 1.0  # of the first KB
    read_ru_further_kb: float = 9 / 99  # 10 RU for 100 KB
    write_factor: float = 5.0  # a write is five reads of the same size
    replace_factor: float = 2.0  # a replacement or patch is two writes
    path_ru: float = 0.2  # of each indexed value that is written
    query_ru: float = 2.5  # of each physical partition that is asked
    path_bytes: int = 40  # of the index, of each indexed value
    partition_gb: float = 35.0  # in a physical partition; it splits at 50
    ask_ms: float = 5.0  # to ask a physical partition; the SDK asks one after the other
    page: int = 100
    instance_mb: float = 0.5
    instances_a_series: int = 50
    series_a_study: int = 4
    views_a_study: float = 2.0
    busy_hours: float = 10.0  # of a day; all work falls into them
    peak: float = 2.0  # the busiest minute beside the mean of the busy hours
    memory_gb: float = 2.0  # of an instance of the app
    store_seconds: float = 0.02  # of an instance of the app, for each DICOM instance
    view_seconds: float = 0.01
    event_seconds: float = 1.0  # shortest time that is billed
    events_at_once: float = 12.0  # host.json: batchSize + newBatchThreshold
    log_kb: float = 3.0  # of each request: two entries of the audit log, one of telemetry
    sweeps_a_month: float = _HOURS * 6

    @property
    def instances_a_study(self) -> int:
        """In all its series."""
        return self.instances_a_series * self.series_a_study


class Model:
    """The model. All request units of one container, all money of one month.

    Parameters
    ----------
    measured : Measured
        A store request.
    assumed : Assumptions
        The rest.
    prices : Mapping
        US dollars, by name (``prices.json``).
    """

    def __init__(
        self, measured: Measured, assumed: Assumptions, prices: Mapping[str, float]
    ) -> None:
        self.measured, self.assumed, self.prices = measured, assumed, prices

    # Request units ------------------------------------------------------------------------

    def read(self, shape: Shape) -> float:
        """Of a point read."""
        further = max(0.0, shape.kb - 1) * self.assumed.read_ru_further_kb
        return self.assumed.read_ru + further

    def operation(self, verb: str, kind: str) -> float:
        """Of one operation on a document of a type."""
        shape = self.measured.shapes.get(kind, Shape(0, 0))
        write = self.assumed.write_factor * self.read(shape)
        return {
            "read": self.read(shape),
            "query": self.assumed.query_ru,
            "create": write + self.assumed.path_ru * shape.paths,
            "delete": write + self.assumed.path_ru * shape.paths,
            "replace": self.assumed.replace_factor * write,
            "patch": self.assumed.replace_factor * write,
        }[verb]

    @property
    def store_ru(self) -> float:
        """Of one instance that is stored, with its share of study, series, outbox and feed."""
        done = self.measured.operations.items()
        total = sum(count * self.operation(verb, kind) for (verb, kind), count in done)
        return total / self.measured.instances

    def search_ru(self, partitions: int, *, found: int, kind: str = "study") -> float:
        """Of a page of a search over a tenant that finds so many in all.

        Sorted pages are taken from each partition, so those that are not shown are read too.
        """
        rows = self.read(self.measured.shapes[kind]) * min(found, self.assumed.page * partitions)
        return partitions * self.assumed.query_ru + rows

    @property
    def view_ru(self) -> float:
        """Of a study that is opened: its series are searched, each instance read."""
        shapes, own = self.measured.shapes, self.assumed
        series = own.query_ru + own.series_a_study * self.read(shapes["series"])
        return series + own.instances_a_study * self.read(shapes["instance"])

    # Sizes --------------------------------------------------------------------------------

    def gb(self, instances: float) -> float:
        """Of the index of so many instances, with the feed."""
        own = self.assumed
        each = {
            "study": 1 / own.instances_a_study,
            "series": 1 / own.instances_a_series,
            "instance": 1.0,
            "entry": 1.0,
        }
        bytes_ = sum(
            share * (1024 * shape.kb + own.path_bytes * shape.paths)
            for kind, share in each.items()
            for shape in (self.measured.shapes[kind],)
        )
        return instances * bytes_ / 1e9

    def partitions(self, gb: float, ru: float = 0) -> int:
        """Physical partitions that hold so much, and give so many RU/s."""
        by_size = math.ceil(gb / self.assumed.partition_gb)
        return max(1, by_size, math.ceil(ru / _REQUEST_UNITS_A_PARTITION))

    # Money --------------------------------------------------------------------------------

    def month(self, archive_tb: float, studies_a_day: float) -> dict[str, float]:
        """What each part costs, and how the index is billed (``plan``: 0 serverless, 1 else)."""
        own, price = self.assumed, self.prices
        stored = studies_a_day * own.instances_a_study * _DAYS
        viewed = stored * own.views_a_study
        gb = self.gb(archive_tb * 1e6 / own.instance_mb)
        searched = self.search_ru(self.partitions(gb), found=1)
        views = studies_a_day * _DAYS * own.views_a_study
        ru = stored * self.store_ru + views * (self.view_ru + searched)
        index, plan = self._index(ru, gb)
        app = stored * own.store_seconds + viewed * own.view_seconds + own.sweeps_a_month
        events = stored * own.event_seconds / own.events_at_once
        requests = stored / own.instances_a_series + viewed + views * 2
        writes = stored * self.measured.blob_writes / self.measured.instances
        parts = {
            "files": archive_tb * 1e3 * price["blob_gb_month"]
            + writes / 1e4 * price["blob_writes_10k"]
            + viewed / 1e4 * price["blob_reads_10k"],
            "index": index,
            "app": app * own.memory_gb * price["functions_gb_second"]
            + requests / 1e6 * price["functions_million_executions"],
            "events": events * own.memory_gb * price["functions_gb_second"]
            + stored / 1e6 * (price["functions_million_executions"] + price["event_grid_million"])
            + stored * 3 / 1e4 * price["queue_operations_10k"],
            "logs": requests * own.log_kb / 1e6 * price["log_gb"] + price["fixed_month"],
        }
        return {**parts, "total": sum(parts.values()), "plan": plan}

    def _index(self, ru: float, gb: float) -> tuple[float, int]:
        """The cheaper plan of those that are possible: its price, and 0 for serverless."""
        own, price = self.assumed, self.prices
        busy = ru / _DAYS / own.busy_hours / 3600
        most = max(_LEAST_AUTOSCALE, busy * own.peak, gb * _RU_A_GB)
        most = math.ceil(most / _LEAST_AUTOSCALE) * _LEAST_AUTOSCALE
        floor, at_work = most / 10, max(most / 10, busy * own.peak)
        share = own.busy_hours / 24
        mean = at_work * share + floor * (1 - share)
        storage = gb * price["cosmos_gb_month"]
        autoscale = mean / 100 * _HOURS * price["cosmos_autoscale_100_ru_hour"] + storage
        serverless = ru / 1e6 * price["cosmos_serverless_million_ru"] + storage
        fits = gb <= _SERVERLESS_GB and busy * own.peak <= _SERVERLESS_RU
        return (serverless, 0) if fits and serverless <= autoscale else (autoscale, 1)


# Tables -----------------------------------------------------------------------------------


def documents_table(model: Model) -> str:
    """The documents of a store, and what is done with each."""
    lines = [
        "| document | KB | indexed values | done in the request | RU |",
        "|---|--:|--:|---|--:|",
    ]
    done = model.measured.operations
    for kind, shape in model.measured.shapes.items():
        verbs = {verb: count for (verb, one), count in done.items() if one == kind}
        words = ", ".join(f"{count} {verb}" for verb, count in sorted(verbs.items()))
        ru = sum(count * model.operation(verb, kind) for verb, count in verbs.items())
        lines.append(f"| {kind} | {shape.kb} | {shape.paths} | {words} | {ru:,.0f} |")
    total = model.store_ru * model.measured.instances
    each = f"{model.store_ru:.1f} an instance"
    lines.append(f"| | | | together, {model.measured.instances} instances | {total:,.0f}; {each} |")
    return "\n".join(lines)


def index_table(model: Model) -> str:
    """The index up to 10^9 instances."""
    own = model.assumed
    lines = [
        "| instances | studies | GB | physical partitions | one study by UID "
        f"| search by PatientID (3 found) | page of {own.page} of a common value |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for power in range(5, 10):
        instances = 10**power
        gb = model.gb(instances)
        partitions = model.partitions(gb)
        studies = instances // own.instances_a_study
        cells = [f"10^{power}", f"{studies:,}", f"{gb:,.1f}", f"{partitions:,}"]
        for asked, found in ((1, 1), (partitions, 3), (partitions, studies)):
            ru, ms = model.search_ru(asked, found=found), asked * own.ask_ms
            cells.append(f"{ru:,.0f} RU, {ms:,.0f} ms")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def month_table(model: Model) -> str:
    """The worked example, in dollars a month."""
    lines = [
        "| archive | studies a day | files | index | app | events | logs, fixed | together |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, terabytes in (("at rest, empty", 0), ("1 TB", 1), ("10 TB", 10), ("1 PB", 1000)):
        for studies in (10, 1_000, 100_000) if terabytes else (0,):
            found = model.month(terabytes, studies)
            plan = "autoscale" if found["plan"] else "serverless"
            cells = [
                name, f"{studies:,}", _money(found["files"]), f"{_money(found['index'])} ({plan})",
                *(_money(found[part]) for part in ("app", "events", "logs", "total")),
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def assumptions_table(model: Model) -> str:
    """The assumptions by name."""
    lines = ["| assumption | value |", "|---|--:|"]
    values = asdict(model.assumed)
    lines += [f"| `{one.name}` | {values[one.name]:,.4g} |" for one in fields(Assumptions)]
    return "\n".join(lines)


TABLES = {
    "documents": documents_table,
    "index": index_table,
    "month": month_table,
    "assumptions": assumptions_table,
}


def _money(dollars: float) -> str:
    return f"{dollars:,.2f}" if dollars < 10 else f"{dollars:,.0f}"


# The command ------------------------------------------------------------------------------


def model_of(prices: Path = PRICES) -> Model:
    """The model of this code, measured now."""
    assumed = Assumptions()
    known = json.loads(prices.read_text("utf-8"))
    numbers = {name: value for name, value in known.items() if isinstance(value, int | float)}
    return Model(asyncio.run(measure(assumed.instances_a_series)), assumed, numbers)


def between_marks(text: str, name: str, table: str) -> str:
    """A document with a table in its place."""
    begin, end = f"<!-- table {name} -->", "<!-- end -->"
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{DOCUMENT.name} has no place for the table {name}")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text)


def report(arguments: argparse.Namespace) -> None:
    """Print the tables, or write them into the document."""
    model = model_of(Path(arguments.prices or PRICES))
    text = DOCUMENT.read_text("utf-8")
    for name, table in TABLES.items():
        if arguments.write:
            text = between_marks(text, name, table(model))
        else:
            print(f"## {name}\n\n{table(model)}\n")
    if arguments.write:
        DOCUMENT.write_text(text, "utf-8")
