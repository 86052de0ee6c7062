"""Where the numbers are from: data, devices, seeds, trials, versions, and the definition of the study."""

import base64

from orchestrator.report.again import command, definition, file_name
from orchestrator.report.formats import NOTHING
from orchestrator.report.page.grid import Column, Line, grid
from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section


def rows_again(results: Results, section: Section) -> Part:
    """Per row its trials and the command that makes it again."""
    study = results.study
    numbers = {plan.cell.name: row for row, plan in enumerate(results.planner.plans, start=1)}
    commands = [(plan.row, command(study, plan.cell, numbers[plan.cell.name])) for plan in section.plans]
    heads = [Column(name, words=True) for name in ("Recipe", "Selected trial", "Evaluated trials")]
    lines = [
        Line(
            [
                plan.row,
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
        "parts/rows_again.html.j2", commands=commands, file=file_name(study), trials=grid("Trials", heads, lines)
    )
    notes = (
        f"Data: fingerprint {section.data.fingerprint}. Trained on {', '.join(devices) or NOTHING}.",
        f"Seeds, the same for all recipes: {', '.join(f'{number}: {seed}' for number, seed in seeds) or NOTHING}.",
    )
    return Part("again", "Make a row again", body, notes=notes)


def provenance(results: Results) -> Part:
    """The definition of the study as a file, and the versions that its trials ran with."""
    written = definition(results.study)
    found: dict[str, set[str]] = {}
    for plan in results.planner.plans:
        for record in (*plan.records("tune"), *plan.records("evaluate")):
            for name, value in record.versions.items():
                found.setdefault(name, set()).add(value)
    versions = ", ".join(f"{name} {' and '.join(sorted(values))}" for name, values in sorted(found.items()))
    plugins = results.study.plugins
    body = render(
        "parts/provenance.html.j2",
        definition=written,
        file=file_name(results.study),
        encoded=base64.b64encode(written.encode()).decode(),
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
