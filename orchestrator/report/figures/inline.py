"""A figure inside a page: it takes the page's colours, says what it is, and needs no style of its own."""

import re
from typing import Final
from xml.etree import ElementTree

from orchestrator.report.escape import line
from orchestrator.report.figures.drawing import BACKGROUND, INK, Drawing

SVG: Final = "http://www.w3.org/2000/svg"
LINK: Final = "{http://www.w3.org/1999/xlink}href"
OWN: Final = {"stroke-linejoin": "round", "stroke-linecap": "butt"}
"""What matplotlib says in a style sheet, which would hold for every figure of the page."""


def inline(drawing: Drawing, prefix: str) -> str:
    """A drawing as an element of HTML, its ids behind `prefix`.

    Styles become attributes, since the page's policy allows none inside elements; ink becomes the page's own colour,
    and the white background goes. Title and description stand for the shapes, which are not read out.
    """
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(drawing.svg)
    _leave_out(root)
    used = set(re.findall(rb'(?:href="#|url\(#)([^")]+)', drawing.svg))
    for element in root.iter():
        _restyle(element)
        _rename(element, {name.decode() for name in used}, prefix, drawing)
    root.attrib.update(OWN | {"fill": "currentColor", "role": "img", "aria-labelledby": f"{prefix}-t"})
    root.attrib.pop("version", None)
    for place, (kind, text) in enumerate((("title", drawing.title), ("desc", drawing.text))):
        word = ElementTree.Element(f"{{{SVG}}}{kind}", {"id": f"{prefix}-{kind[0]}"})
        word.text = line(text)
        root.insert(place, word)
    return ElementTree.tostring(root, encoding="unicode")


def _leave_out(root: ElementTree.Element) -> None:
    """Without metadata, style sheets and the background."""
    for parent in list(root.iter()):
        for child in list(parent):
            name = child.tag.rpartition("}")[2]
            if name in {"metadata", "style"} or child.get("id") == BACKGROUND:
                parent.remove(child)


def _restyle(element: ElementTree.Element) -> None:
    """Properties of a style as attributes; ink as the colour around."""
    for part in element.attrib.pop("style", "").split(";"):
        name, _, value = part.partition(":")
        if value:
            element.set(name.strip(), value.strip())
    for name in ("fill", "stroke"):
        if element.get(name) == INK:
            element.set(name, "currentColor")


def _rename(element: ElementTree.Element, used: set[str], prefix: str, drawing: Drawing) -> None:
    """Ids that are used stand behind the prefix, the others go; a part that says something has it as its title."""
    name = element.attrib.pop("id", None)
    if name is not None and name in drawing.hover:
        said = ElementTree.Element(f"{{{SVG}}}title")
        said.text = line(drawing.hover[name])
        element.insert(0, said)
    if name in used:
        element.set("id", f"{prefix}-{name}")
    if LINK in element.attrib:
        element.set("href", f"#{prefix}-{element.attrib.pop(LINK).removeprefix('#')}")
    for key, value in element.attrib.items():
        if value.startswith("url(#"):
            element.set(key, value.replace("url(#", f"url(#{prefix}-"))
