"""Bring the repeated search terms of a study's documents in line with the study and its series.

Series documents repeat the study's ``q``, instance documents those of both, so that a search
asks one document type only (architecture §5). When a later instance changes an attribute of the
study or of a series, the documents below follow. The study's member ``spreading`` says that this
is under way: it is set in the commit that changed the attribute and cleared at the end, so a
process that dies leaves a mark for the next one.
"""

from __future__ import annotations

from shared.dicom import attributes as dicom
from shared.errors import OperationRefused, Refusal
from shared.index import shapes
from shared.index.schema import INDEX
from shared.index.terms import level_of_term
from shared.ports import Documents, JsonObject, Patch
from shared.where import And, Eq, Order, Where

_PAGE = 200
_BATCH = 40
_MOST_PUT = 10


async def align(documents: Documents, pk: str) -> None:
    """Finish what the study's ``spreading`` says, if it says so. Running it twice is harmless."""
    while True:
        study = await documents.get(INDEX.name, pk, shapes.study_id(pk.partition("|")[2]))
        if study is None or not study.body.get("spreading"):
            return
        await _align_below(documents, pk, study.body)
        done = Patch(
            study.body["id"],
            put={("spreading",): False},
            when={("termsVersion",): study.body["termsVersion"]},
        )
        try:
            await documents.commit(INDEX.name, pk, [done])
        except OperationRefused as refused:
            if refused.refusal is Refusal.MISSING:
                return
            # the attributes changed meanwhile: go round again with the new ones
        else:
            return


async def align_unfinished(documents: Documents) -> int:
    """Align studies whose writer died before it had. Returns how many there were."""
    unfinished = await documents.query(
        INDEX.name,
        And((Eq(("type",), shapes.STUDY), Eq(("spreading",), value=True))),
        limit=_PAGE,
        members=["pk"],
    )
    for body in unfinished:
        await align(documents, body["pk"])
    return len(unfinished)


async def _align_below(documents: Documents, pk: str, study: JsonObject) -> None:
    series_terms: dict[str, JsonObject] = {}
    patches: list[Patch] = []
    for kind in (shapes.SERIES, shapes.INSTANCE):
        after: list[str] | None = None
        while True:
            page = await _page(documents, pk, Eq(("type",), kind), after)
            for body in page:
                if kind == shapes.SERIES:
                    wanted = _with(body["q"], study["q"], (dicom.STUDY,))
                    series_terms[body["series"]] = wanted
                else:
                    above = series_terms.get(body["series"], {**body["q"], **study["q"]})
                    wanted = _with(body["q"], above, (dicom.STUDY, dicom.SERIES))
                patches += _patches(body, wanted)
            if len(page) < _PAGE:
                break
            after = [page[-1]["version"], page[-1]["id"]]
        while patches:
            await _apply(documents, pk, patches[:_BATCH])
            patches = patches[_BATCH:]


async def _page(
    documents: Documents, pk: str, where: Where, after: list[str] | None
) -> list[JsonObject]:
    return await documents.query(
        INDEX.name,
        And((where,)),
        order=[Order(("version",), descending=True), Order(("id",))],
        limit=_PAGE,
        after=after,
        partition=pk,
        members=["id", "series", "version", "q"],
    )


def _with(q: JsonObject, above: JsonObject, levels: tuple[str, ...]) -> JsonObject:
    """``q`` with its terms of ``levels`` replaced by those of ``above``."""
    own = {tag: value for tag, value in q.items() if level_of_term(tag) not in levels}
    return own | {tag: value for tag, value in above.items() if level_of_term(tag) in levels}


def _patches(body: JsonObject, wanted: JsonObject) -> list[Patch]:
    changed = [
        (("q", tag), wanted.get(tag))
        for tag in sorted(body["q"].keys() | wanted.keys())
        if body["q"].get(tag) != wanted.get(tag)
    ]
    return [
        Patch(body["id"], put=dict(changed[start : start + _MOST_PUT]))
        for start in range(0, len(changed), _MOST_PUT)
    ]


async def _apply(documents: Documents, pk: str, patches: list[Patch]) -> None:
    """Apply patches; a document that was deleted meanwhile needs none."""
    while patches:
        try:
            await documents.commit(INDEX.name, pk, patches)
        except OperationRefused as refused:
            gone = patches[refused.index].id
            patches = [patch for patch in patches if patch.id != gone]
        else:
            return
