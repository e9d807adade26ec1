"""Tests of what the README and the documentation promise."""

import argparse
import ast
import importlib
import pathlib
import pkgutil
import re
import shlex
from collections.abc import Iterator

import pytest

import lxmert_tf
from lxmert_tf import LxmertAnswerClassifier, LxmertConfig
from lxmert_tf.cli import main
from lxmert_tf.data.batches import find_records
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.dataset_info import read_dataset_info
from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.job import run_ingest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "deploy" / "README.md",
    ROOT / "requirements" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
PACKAGES = ("lxmert_tf", "pipeline", "benchmarks")
# The module, and the names in parentheses or up to the end of the line.
IMPORT = re.compile(
    r"^(?:>>> |\s|`)*from (lxmert_tf[\w.]*) import (?:\(([^)]*)\)|([\w, ]+))", re.MULTILINE
)


def text_of(page: pathlib.Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: pathlib.Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name_of(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def demo_output(tmp_path, monkeypatch):
    """A small version of the files that the README's code reads."""
    monkeypatch.chdir(tmp_path)
    run_ingest(IngestConfig("easy_vqa", SplitConfig("train", limit=20)), "build/records/train")
    info = read_dataset_info(
        find_records("build/records/train"), FinetuningConfig(vocabulary_size=200)
    )
    config = LxmertConfig(
        hidden_size=8,
        num_attention_heads=2,
        intermediate_size=16,
        language_layers=1,
        cross_layers=1,
        relationship_layers=1,
        vocab_size=len(info.vocabulary),
        region_feature_size=256,
        num_answers=len(info.answers),
    )
    model = LxmertAnswerClassifier(config, vocabulary=info.vocabulary, answers=info.answers)
    model.save_preset("build/demo/preset")
    return tmp_path


@pytest.mark.slow
def test_the_fine_tuning_example_runs_and_leaves_a_preset(demo_output):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.splitlines()) <= 20
    exec(compile(code, "README.md", "exec"), {})
    assert LxmertAnswerClassifier.from_preset(demo_output / "build/fine_tuned").answers


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page):
    for link, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)\s]*))?\)", text_of(page)):
        target = page.parent / link if link else page
        assert target.exists(), f"no file for the link {link}"
        if anchor:
            assert anchor in anchors(target), f"no heading for the link {link}#{anchor}"


@pytest.mark.parametrize("page", [*PAGES, *CONFIGS], ids=name_of)
def test_paths_in_the_repository_exist(page):
    roots = "lxmert_tf|pipeline|configs|tests|benchmarks|deploy|requirements|examples|docs|tools"
    for path in re.findall(rf"(?<![\w/.])(?:{roots})/(?!s\b)[\w./-]*", text_of(page)):
        assert (ROOT / path.rstrip(".")).exists(), f"no such file: {path}"


def documented_commands(text: str) -> list[str]:
    """Return the `lxmert` command lines in code blocks and comments, without placeholders."""
    text = re.sub(r"^# ", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    commands = [re.search(r"^\s*(?:\.venv/bin/)?lxmert (.*)", line) for line in lines]
    found = [re.sub(r"\s+#\s.*", "", command[1]) for command in commands if command]
    return [command for command in found if "..." not in command.split() and "[" not in command]


@pytest.mark.parametrize("page", [*PAGES, *CONFIGS], ids=name_of)
def test_commands_have_the_options_that_are_documented(page, capsys):
    for line in documented_commands(text_of(page)):
        command, *arguments = shlex.split(line)
        [module] = [group[command][0] for group in main.COMMANDS.values() if command in group]
        parser = argparse.ArgumentParser(prog=f"lxmert {command}")
        importlib.import_module(module).add_arguments(parser)
        try:
            parser.parse_args(arguments)
        except SystemExit:
            pytest.fail(f"lxmert {line}: {capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_in_examples_exist(page):
    for code in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "lxmert_tf":
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module} has no {name.name}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lxmert_tf":
                assert hasattr(lxmert_tf, node.attr), f"lxmert_tf has no {node.attr}"


def documented_text() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every page, and of every docstring of the packages."""
    for page in PAGES:
        # The changelog names modules that are gone.
        if page.stem != "changelog":
            yield name_of(page), text_of(page)
    for path in sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield name_of(path), ast.get_docstring(node) or ""


def test_what_is_returned_does_not_read_as_a_type():
    # The documentation takes what stands before a colon in the first line for the type.
    for where, text in documented_text():
        for line in re.findall(r"^(?:Returns|Yields):\n +(.*)", text, re.MULTILINE):
            assert ":" not in line, f"{where}: {line}"


def test_every_documented_import_works():
    found = 0
    for where, text in documented_text():
        for module, listed, rest in IMPORT.findall(text):
            for name in re.findall(r"\w+(?: as \w+)?", listed or rest):
                found += 1
                owner = importlib.import_module(module)
                assert hasattr(owner, name.split()[0]), f"{where}: {module} has no {name}"
        for dotted in re.findall(r"(?:`|::: |import )(lxmert_tf(?:\.\w+)+)(?![\w/])", text):
            found += 1
            assert pkgutil.resolve_name(dotted), f"{where}: no {dotted}"
    assert found > 20
