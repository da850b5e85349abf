"""The checks, a module for each area; importing one registers what it holds."""

import importlib
import pathlib


def load():
    for path in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py")):
        importlib.import_module(f"checks.{path.stem}")
