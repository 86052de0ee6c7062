"""JSON schemas of the files that people write, for editors that complete and check them."""

from typing import Any, Final

from pydantic import BaseModel

from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.data.custom.schema import KINDS
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.plans import PLANS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The schema of a model, with the names of its keys as they are written."""
    return {"$schema": DIALECT, **model.model_json_schema(mode="validation"), "title": title}


def study_schema() -> dict[str, Any]:
    """The schema of a study: with the names of data sets, objectives, methods and plans, and declared data sets."""
    schema = schema_of(Study, "A study of Tailsweep")
    definitions = schema["$defs"]
    declared = []
    for kind, model in KINDS.items():
        inner = model.model_json_schema(mode="validation")
        definitions |= inner.pop("$defs", {})
        definitions[f"Data of type {kind}"] = inner
        declared.append({"$ref": f"#/$defs/Data of type {kind}"})
    schema["properties"]["workloads"]["items"] = {"anyOf": [{"enum": list(WORKLOADS)}, *declared]}
    recipes = definitions["Recipes"]["properties"]
    for key, names in (("objectives", OBJECTIVES), ("combine", METHODS), ("plans", PLANS)):
        recipes[key]["items"] = {"anyOf": [{"enum": list(names)}, {"type": "string"}]}  # plugins bring others
    return schema
