"""A process that dies again and again, anywhere, over a destination that fails now and then."""

from __future__ import annotations

import random
from typing import Any

import pytest

from shared.errors import DestinationTrouble
from shared.export import batch, service
from shared.export.ports import Copied
from tests.support import dicom
from tests.support.export import check_manifest, lines
from tests.unit.export.conftest import Bench

_NAMED = ("1.1", "1.1/2.2", "2.25.404", "1.2", "1.2/2.3/3.9", "1.1")
_STORED = ("1.1/2.1/3.1", "1.1/2.1/3.2", "1.1/2.2/3.3", "1.1/2.2/3.4", "1.2/2.3/3.5", "1.2/2.3/3.6")
_COUNTED = 4 + 2 + 1 + 2 + 1 + 4


class Died(BaseException):
    """The process is gone: nothing may catch it."""


@pytest.mark.parametrize("seed", range(12))
async def test_each_file_and_each_line_is_there_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(service, "_FILES", 4)
    monkeypatch.setattr(batch, "_PAUSES_S", (0.0, 0.0))
    files = {}
    for identifier in _STORED:
        study, series, instance = identifier.split("/")
        data = dicom.base(StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=instance)
        await bench.tenant.store(data)
        files[f"results/{identifier}.dcm"] = data
    chance = random.Random(seed)
    bench.destination.copies = list(Copied)[seed % len(Copied)]
    id_ = await bench.start(*_NAMED)

    deaths = await _work(bench, id_, chance)

    body = await bench.engine.get(id_)
    assert body["status"] == "succeeded"
    results, content = body["results"], bench.folder(id_)
    assert results["exported"] + results["skipped"] == _COUNTED
    assert not list(check_manifest(content))
    assert set(bench.destination.writes.values()) <= {1}
    errors = [line["identifier"] for line in lines(content["errors.log"])]
    assert len(errors) == results["skipped"]
    assert (errors.count("2.25.404"), errors.count("1.2/2.3/3.9")) == (1, 1)
    written = {name: data for name, data in content.items() if name.endswith(".dcm")}
    assert written.items() <= files.items()
    assert deaths > 3


async def _work(bench: Bench, id_: str, chance: random.Random) -> int:
    """Deliver messages, with deaths, until the operation is over. How many there were."""
    commit = bench.tenant.documents.commit

    async def dying(*arguments: Any) -> None:
        fate = chance.random()
        if fate < 0.1:
            raise Died
        await commit(*arguments)
        if fate > 0.9:
            raise Died

    def meet(_call: str, _name: str) -> None:
        fate = chance.random()
        if fate < 0.12:
            raise Died
        if fate < 0.15:
            raise DestinationTrouble("The container c of account a did not take it.")

    bench.tenant.documents.commit = dying  # type: ignore[method-assign]
    bench.destination.meets = meet
    deaths = 0
    while bench.queue.sent:
        _, message, _ = bench.queue.sent[0]
        try:
            await bench.engine.work(id_, f"message {id(message)}")
        except (Died, BaseExceptionGroup, DestinationTrouble):
            deaths += 1
            continue
        bench.queue.sent.pop(0)
        over = (await bench.engine.get(id_))["status"] not in ("running", "notStarted")
        if not bench.queue.sent and not over:  # as the sweep would
            bench.tenant.clock.pass_by(minutes=6)
            bench.queue.sent.append(("operations", {"operation": id_}, 0))
    bench.tenant.documents.commit = commit  # type: ignore[method-assign]
    return deaths
