"""The programs of docs/serving.md."""

import pathlib
import re

# Its programs need a model that takes pictures; tests/serving/test_picture_signatures.py has one.
PICTURES = "Pictures in, answers out"
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "serving.md"


def programs_of(section: str) -> list[str]:
    """Return the programs of a part of the page."""
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def run_programs(programs: list[str], endpoint: str) -> list[str]:
    """Run programs one after another, and return what they print, line by line."""
    printed: list[str] = []
    # Not capsys: uvicorn's logging set-up closes streams that are replaced while it runs.
    names = {"print": lambda *values: printed.append(str(values[0]))}
    for program in programs:
        code = program.replace("http://127.0.0.1:8501", endpoint)
        exec(compile(code, PAGE.name, "exec"), names)
    return printed
