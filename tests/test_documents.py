"""What the documents say can be done: links lead somewhere, commands are ones that there are, files are taken."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clusters.profile import Profile, profile
from orchestrator import yaml12
from orchestrator.cli.main import parser
from orchestrator.study.spec import Study

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def blocks(path: Path, kind: str) -> Iterator[str]:
    for named, text in BLOCK.findall(path.read_text("utf-8")):
        if named == kind:
            yield text


def commands(path: Path) -> Iterator[list[str]]:
    """Words of the shell commands in a document."""
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.replace("$WHERE", ""), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]  # variables of the one command
            if words:
                yield words


def anchors(path: Path) -> set[str]:
    """Names that headings are given: letters, digits and dashes."""
    prose = BLOCK.sub("", path.read_text("utf-8"))
    heads = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@documents
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(BLOCK.sub("", path.read_text("utf-8"))):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@documents
def test_every_command_of_tailsweep_is_one_that_it_takes(path: Path) -> None:
    for words in commands(path):
        if words[0] == "tailsweep":
            parser().parse_args(words[1:])


@documents
def test_every_target_and_variable_of_make_is_there(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for words in commands(path):
        if words[0] != "make":
            continue
        for word in words[1:]:
            name, equals, _ = word.partition("=")
            law = rf"^{name} \?=" if equals else rf"^{name}:.*##"
            assert re.search(law, makefile, re.MULTILINE), word


@documents
def test_every_study_and_profile_is_taken(path: Path, tmp_path: Path) -> None:
    for text in blocks(path, "yaml"):
        tree = yaml12.load(text, path.name)
        if isinstance(tree, dict) and "extends" in tree:
            (tmp_path / "mine.yaml").write_text(text, "utf-8")
            profile(str(tmp_path / "mine.yaml"))
        elif isinstance(tree, dict) and "workloads" in tree and "recipes" in tree:
            Study.read(text, path.name)


def inline(path: Path) -> Iterator[dict[str, Any]]:
    """Mappings that stand in the text of a document, as `key: value`, below a key of a study or a profile."""
    for text in INLINE.findall(BLOCK.sub("", path.read_text("utf-8"))):
        first = re.match(r"[a-z_.]+(?=: \S)", text)
        if first is not None and first[0].partition(".")[0] in {*Study.model_fields, *Profile.model_fields}:
            yield yaml12.load(text, f"{path.name}: {text}")


@documents
def test_every_inline_example_is_taken(path: Path, tmp_path: Path) -> None:
    base = {"study": "tiny", "workloads": ["nhanes-sbp"], "recipes": {"also": ["l1"]}}
    for number, tree in enumerate(inline(path)):
        for key, value in tree.items():
            head, _, rest = key.partition(".")
            if head in Study.model_fields and not (head == "study" and isinstance(value, Mapping)):  # that of a profile
                name = "space" if head == "train" and isinstance(value, Mapping) and "low" in value else head
                given = {key: value} if name != head else {rest: value} if rest else value
                Study.of({**base, name: given}, f"{path.name}: {tree}")
            if head in Profile.model_fields:
                (tmp_path / f"{number}.yaml").write_text("{}")
                profile(str(tmp_path / f"{number}.yaml"), [f"{key}={json.dumps(value)}"])


def test_the_documents_hold_examples_of_each() -> None:
    words = [words for path in DOCUMENTS for words in commands(path)]
    assert sum(each[0] == "tailsweep" for each in words) > 20
    assert sum(each[0] == "make" for each in words) > 5
    assert sum("extends:" in text for path in DOCUMENTS for text in blocks(path, "yaml")) > 3
    assert sum(1 for path in DOCUMENTS for _ in inline(path)) > 10
