"""The tables of ``docs/cost.md`` are what the model computes from this code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cost_documents import shape_of
from bench.cost_model import DOCUMENT, PRICES, TABLES, Model, between_marks, model_of


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of()


@pytest.mark.parametrize("name", TABLES)
def test_each_table_is_reproduced(model: Model, name: str) -> None:
    text = DOCUMENT.read_text("utf-8")
    assert between_marks(text, name, TABLES[name](model)) == text, (
        "python3 dev.py bench cost --write"
    )


def test_the_measured_batch_is_a_whole_store(model: Model) -> None:
    done = model.measured.operations
    count = model.measured.instances
    assert done["create", "instance"] == done["create", "entry"] == count
    assert model.measured.blob_writes >= count
    # budget of architecture §11, of a request: study, series, outbox; feed; outbox gone
    assert sum(done.values()) - 2 * count <= 10


def test_what_is_indexed_is_counted_by_the_policy() -> None:
    body = {"id": "a", "type": "study", "q": {"00100010": ["x", "y"]}, "d": {"00100010": "z"}}
    assert shape_of(body, "index").paths == 4
    assert shape_of({"text": "ä"}, "index").size == len('{"text":"ä"}'.encode())


def test_more_costs_more(model: Model) -> None:
    totals = [model.month(size, 1000)["total"] for size in (1, 10, 1000)]
    assert totals == sorted(totals)
    totals = [model.month(10, studies)["total"] for studies in (10, 1000, 100_000)]
    assert totals == sorted(totals)
    for found in (3, 10**6):
        charges = [model.search_ru(partitions, found=found) for partitions in (1, 10, 100)]
        assert charges == sorted(charges)


def test_a_plan_is_chosen_only_where_it_is_possible(model: Model) -> None:
    assert model.month(1, 10)["plan"] == 0
    assert model.gb(1000 * 1e6 / model.assumed.instance_mb) > 1000
    assert model.month(1000, 10)["plan"] == 1  # a serverless container ends at 1 TB


def test_other_prices_give_other_figures(model: Model, tmp_path: Path) -> None:
    prices = json.loads(PRICES.read_text("utf-8"))
    assert "PLACEHOLDERS" in prices["note"]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**prices, "blob_gb_month": 2 * prices["blob_gb_month"]}), "utf-8")
    other = model_of(file)
    assert other.month(1000, 10)["files"] > 1.9 * model.month(1000, 10)["files"]
    assert other.month(1000, 10)["index"] == model.month(1000, 10)["index"]
