"""The reference pages of the site, made from the code when it is built: a hook of MkDocs, see mkdocs.yml.

They are not kept as files: the registries, the models of the study and of the profile, and the parser are the truth.
"""

import argparse
import importlib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

import orchestrator
from clusters.profile import PROFILE, Profile, profiles
from clusters.submission import Options, targets
from orchestrator.cli.main import parser
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.data.custom.schema import KINDS
from workloads.encoders.named import ENCODERS

OUTSIDE: Final = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)\s]+)\)")
"""Links to files of the repository that are not documents."""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    names = list(head)
    yield from ("", _row(names), "|" + "---|" * len(names))
    yield from (_row(row) for row in rows)
    yield ""


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def models(model: type[BaseModel], known: Mapping[str, type[BaseModel]] = {}) -> dict[str, type[BaseModel]]:
    """A model and those that its keys hold, by name."""
    found = {**known, model.__name__: model}
    for field in model.model_fields.values():
        for name in re.findall(r"\w+", str(field.annotation)):
            inner = getattr(inspect.getmodule(model), name, None)
            if isinstance(inner, type) and issubclass(inner, BaseModel) and inner.__name__ not in found:
                found = models(inner, found)
    return found


def keys(model: type[BaseModel], page: str = "") -> Iterator[str]:
    """What a model is, and its keys with their types, bounds and defaults; `page` begins the anchors of its parts."""
    yield from ("", inspect.cleandoc(model.__doc__ or ""))
    schema = model.model_json_schema(mode="validation")
    required = schema.get("required", [])
    rows = []
    for name, tree in schema.get("properties", {}).items():
        default = "required" if name in required else _default(tree)
        rows.append((f"`{name}`", _kind(tree, page), default))
    yield from table(("key", "values", "default"), rows)


def _default(tree: Mapping[str, Any]) -> str:
    if "default" not in tree:
        return "–"
    value = tree["default"]
    return "as there" if isinstance(value, dict) and value else f"`{json.dumps(value)}`"


def _kind(tree: Mapping[str, Any], page: str) -> str:
    """The values that a key takes, in words."""
    if "$ref" in tree:
        name = tree["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{page}{name.lower()})"
    if "const" in tree or "enum" in tree:
        return ", ".join(f"`{value}`" for value in tree.get("enum", [tree.get("const")]))
    if "anyOf" in tree:
        return " or ".join(dict.fromkeys(_kind(inner, page) for inner in tree["anyOf"]))
    words = {
        "string": "text",
        "number": "number",
        "integer": "whole number",
        "boolean": "`true`, `false`",
        "any": "name or mapping",
    }
    kind = tree.get("type", "any")
    if kind == "array":
        inner = tree.get("items") or next(iter(tree.get("prefixItems", [])), {})
        return f"list of {_kind(inner, page)}"
    if kind == "object":
        inner = tree.get("additionalProperties")
        return f"mapping to {_kind(inner, page)}" if isinstance(inner, dict) and inner else "mapping"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {tree[name]:g}" for name, sign in bounds.items() if name in tree]
    return " ".join([words.get(kind, str(kind)), *limits])


def study() -> Iterator[str]:
    """The keys of a study file."""
    yield "# Keys of a study"
    yield "\nHow to write one: [Studies](studies.md). It is checked before anything runs; unknown keys are refused."
    for name, model in models(Study).items():
        yield f"\n## {name}"
        yield from keys(model)
    yield "\n## Declared data sets"
    yield "\nEntries of `workloads` that are mappings. [How to declare one](studies.md#data-of-your-own)."
    for name, kind in KINDS.items():
        yield f"\n### type: {name}"
        yield from keys(kind)


def profile() -> Iterator[str]:
    """The keys of a profile, and the shipped profiles with the options of their targets."""
    yield "# Keys of a cluster profile"
    yield "\nHow to use one: [Where a study runs](clusters.md)."
    yield from keys(Profile)
    for name in profiles():
        text = (resources.files("clusters") / name.replace("-", "_") / PROFILE).read_text("utf-8")
        yield f"\n## {name}\n\n```yaml\n{text.rstrip()}\n```"
        if name not in targets():
            continue
        module = importlib.import_module(f"clusters.{name.replace('-', '_')}.target")
        for options in vars(module).values():
            if isinstance(options, type) and issubclass(options, Options) and options is not Options:
                for part in models(options).values():
                    yield f"\n### {part.__name__} {{#{name}-{part.__name__.lower()}}}"
                    yield from keys(part, f"{name}-")


def commands() -> Iterator[str]:
    """Every command with its arguments."""
    os.environ["COLUMNS"] = "100"
    yield "# Commands"
    yield f"\n{parser().description} Exit codes: {parser().epilog.removeprefix('exit codes: ')}."
    yield from _commands(parser())


def _commands(command: argparse.ArgumentParser, level: int = 2) -> Iterator[str]:
    arguments = []
    for action in command._actions:  # argparse has no other way to list them
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield f"\n{'#' * level} {inner.prog}\n\n{inner.description}"
                yield from _commands(inner, level + 1)
        elif not isinstance(action, argparse._HelpAction):
            name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            value = f" {action.metavar}" if action.option_strings and action.metavar else ""
            arguments.append((f"`{name}{value}`", action.help or ""))
    if arguments:
        yield from table(("argument", "meaning"), arguments)


def data_sets() -> Iterator[str]:
    """Every workload with what is known of it."""
    yield "# Data sets"
    yield "\nHow to get and check them: [Data sets](data.md). Your own: [in a study](studies.md#data-of-your-own)."
    for workload in WORKLOADS.values():
        origin, grid = workload.origin, workload.grid
        bins = f"{grid.bins} bins from {grid.low:g} to {grid.high:g}" + (f" {workload.unit}" if workload.unit else "")
        facts = {
            "Task": f"{workload.task}{', a label per pixel' if workload.dense else ''}; {bins}",
            "Shot regions": str(workload.shots),
            "Metrics": ", ".join(workload.metrics),
            "Settings": ", ".join(f"`{name}={value}`" for name, value in workload.settings.items()),
            "Source": f"{origin.source}. Terms: {origin.licence}",
            "Page": f"<{origin.page}>" if origin.page else "",
            "Files": origin.steps or ("come with a package" if not origin.folder else f"below `{origin.folder}/`"),
            "Rows": ", ".join(f"{name} {count:,}" for name, count in workload.counts.items()),
        }
        yield f"\n## {workload.name}\n\n{workload.title[0].upper() + workload.title[1:]}."
        yield from table(("", "what is known"), ((name, text) for name, text in facts.items() if text))


def encoders() -> Iterator[str]:
    """The encoders that a declared data set may name."""
    yield "# Encoders"
    yield "\nA declared data set names one by `encoder`; the first of a type is the default. `hidden` sets the widths"
    yield "of the layers, `weights` a file or a name on the hub where the encoder reads one. Images may name a network"
    yield "of timm, `timm/NAME`, which reads a file; texts, and images with `features`, name one of `table`."
    for kind, named in ENCODERS.items():
        rows = (
            (f"`{name}`", ", ".join(map(str, each.hidden)) or "its own", "yes" if each.weights else "–")
            for name, each in named.items()
        )
        yield f"\n## type: {kind}"
        yield from table(("encoder", "`hidden`", "reads `weights`"), rows)


def python() -> Iterator[str]:
    """The names of the package `orchestrator`."""
    yield "# From Python"
    yield "\n```python\n" + inspect.cleandoc((orchestrator.__doc__ or "").split("From Python:")[1]) + "\n```"
    for name in orchestrator.__all__:
        thing = getattr(orchestrator, name)
        yield f"\n## {name}"
        if inspect.isfunction(thing):
            yield from _documented(name, thing)
            continue
        yield f"\n{inspect.cleandoc(thing.__doc__ or '')}"
        for member, function in vars(thing).items():
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function) and not member.startswith("_"):
                yield from _documented(f"{name}.{member}", function)


def _documented(name: str, function: Callable[..., object]) -> Iterator[str]:
    arguments = [each for each in inspect.signature(function).parameters.values() if each.name not in {"self", "cls"}]
    shown = ", ".join(f"{each.name}=…" if each.default is not each.empty else each.name for each in arguments)
    yield f"\n`{name}({shown})`"
    yield f"\n{inspect.cleandoc(function.__doc__ or '')}"


PAGES: Final[Mapping[str, Callable[[], Iterable[str]]]] = {
    "reference-study.md": study,
    "reference-profile.md": profile,
    "reference-commands.md": commands,
    "reference-data-sets.md": data_sets,
    "reference-encoders.md": encoders,
    "reference-python.md": python,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, page in PAGES.items():
        files.append(File.generated(config, name, content="\n".join(page()) + "\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files of the repository lead to `repo_url`, and are plain names where there is none."""
    if config.repo_url:
        return OUTSIDE.sub(rf"[\1]({config.repo_url.rstrip('/')}/blob/main/\2)", markdown)
    return OUTSIDE.sub(r"\1", markdown)
