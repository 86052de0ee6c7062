"""Where the numbers are from: data, devices, seeds, trials, versions, and the definition of the study."""

import base64
from collections.abc import Sequence

from orchestrator.report.again import command, definition, file_name
from orchestrator.report.formats import NOTHING
from orchestrator.report.page.grid import Column, Line, grid
from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section
from orchestrator.study.spec import Study


def rows_again(results: Results, section: Section) -> Part:
    """Per row its trials and the command that makes it again."""
    every = [id(plan) for one in results.sections for plan in one.plans]
    commands = [
        (plan.label, command(source.study, plan.cell, every.index(id(plan)) + 1)) for plan, source in section.rows
    ]
    heads = [Column(name, words=True) for name in ("Recipe", "Selected trial", "Evaluated trials")]
    lines = [
        Line(
            [
                plan.label,
                plan.selected.trial_id if plan.selected else NOTHING,
                " ".join(record.trial_id for record in plan.records("evaluate")) or NOTHING,
            ],
        )
        for plan in section.plans
    ]
    records = [record for plan in section.plans for record in plan.records("evaluate")]
    seeds = sorted({(record.number, record.seed) for record in records})
    devices = sorted({record.device for record in records if record.device})
    body = render(
        "parts/rows_again.html.j2",
        commands=commands,
        files=[file_name(study) for study in _studies([section])],
        trials=grid("Trials", heads, lines),
    )
    notes = (
        f"Data: fingerprint {section.data.fingerprint}. Trained on {', '.join(devices) or NOTHING}.",
        f"Seeds, the same for all recipes: {', '.join(f'{number}: {seed}' for number, seed in seeds) or NOTHING}.",
    )
    return Part("again", "Make a row again", body, notes=notes)


def _studies(sections: Sequence[Section]) -> list[Study]:
    """The studies that trained rows of these sections, each once."""
    found = {source.study.study: source.study for section in sections for _, source in section.rows}
    return list(found.values())


def provenance(results: Results) -> Part:
    """The definition of every study as a file, and the versions that its trials ran with."""
    studies = _studies(results.sections)
    found: dict[str, set[str]] = {}
    for plan in (plan for section in results.sections for plan in section.plans):
        for record in (*plan.records("tune"), *plan.records("evaluate")):
            for name, value in record.versions.items():
                found.setdefault(name, set()).add(value)
    versions = ", ".join(f"{name} {' and '.join(sorted(values))}" for name, values in sorted(found.items()))
    plugins = dict.fromkeys(plugin for study in studies for plugin in study.plugins)
    files = [(file_name(study), definition(study)) for study in studies]
    body = render(
        "parts/provenance.html.j2",
        files=[(name, text, base64.b64encode(text.encode()).decode()) for name, text in files],
    )
    notes = (
        f"Trained with {versions or NOTHING}.",
        *(
            [f"The modules {', '.join(plugins)} bring methods of their own: they lie beside the file."]
            if plugins
            else []
        ),
    )
    return Part("provenance", "Definition and versions", body, notes=notes)
