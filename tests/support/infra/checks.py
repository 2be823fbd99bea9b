"""All checks, and what they have to say of an ``Infra``."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.infra import access, index, project, properties, settings, syntax, work
from tests.support.infra.source import Infra

CHECKS: tuple[Callable[[Infra], list[str]], ...] = (
    syntax.check_syntax,
    syntax.check_names,
    syntax.check_modules,
    syntax.check_files,
    syntax.check_parameters,
    settings.check_settings,
    index.check_schema,
    index.check_queries,
    work.check_queues,
    work.check_events,
    work.check_host,
    properties.check_properties,
    access.check_roles,
    access.check_keyless,
    access.check_tags,
    project.check_project,
    project.check_package,
    project.check_outputs,
)


def complaints(infra: Infra) -> dict[str, list[str]]:
    """Of each check that finds something: what it finds."""
    said = {check.__name__.removeprefix("check_"): check(infra) for check in CHECKS}
    return {name: problems for name, problems in said.items() if problems}
