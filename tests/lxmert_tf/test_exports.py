"""The names that `lxmert_tf` offers."""

import ast
import builtins
import importlib.resources
import inspect
import pydoc
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lxmert_tf


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("name", lxmert_tf.__all__)
def test_export_is_defined_by_its_module(name):
    value = getattr(lxmert_tf, name)
    assert value.__name__ == name
    assert value.__module__ == lxmert_tf._EXPORTS[name]
    assert value.__doc__


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(lxmert_tf.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)][:1]
    seen = {alias.name: item.module for item in block.body for alias in item.names}
    assert seen == lxmert_tf._EXPORTS
    assert set(lxmert_tf.__all__) == seen.keys()


def test_names_are_listed():
    assert set(dir(lxmert_tf)) == {*lxmert_tf.__all__, "__version__"}
    names = {}
    exec("from lxmert_tf import *", names)
    assert names.keys() - {"__builtins__"} == set(lxmert_tf.__all__)


def test_help_names_every_export():
    text = pydoc.plain(pydoc.render_doc(lxmert_tf))
    description = text[: text.index("PACKAGE CONTENTS")]
    assert [name for name in lxmert_tf.__all__ if name not in description] == []
    assert "class LxmertBackbone(" in text


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lxmert_tf' has no attribute 'Lxmert'"):
        lxmert_tf.Lxmert  # noqa: B018


def test_import_has_no_side_effect_but_the_choice_of_keras():
    done = run(
        "import os, sys\n"
        "before = list(sys.meta_path), sys.stderr, dict(os.environ)\n"
        "import lxmert_tf\n"
        "before[2].setdefault('TF_USE_LEGACY_KERAS', os.environ.get('TF_USE_LEGACY_KERAS'))\n"
        "after = list(sys.meta_path), sys.stderr, {'TF_USE_LEGACY_KERAS': None, **os.environ}\n"
        "assert before == after, (before, after)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_package_is_typed():
    package = importlib.resources.files("lxmert_tf")
    assert (package / "py.typed").is_file()


# The classes of which people build models, and with which they train them.
MODEL_CLASSES = [
    f"lxmert_tf.{name}"
    for name, module in lxmert_tf._EXPORTS.items()
    if name[0].isupper() and module.split(".")[1] in ("models", "training")
]
LAYER_CLASSES = [
    *(f"lxmert_tf.layers.attention.{name}" for name in ("SelfAttention", "CrossAttention")),
    *(
        f"lxmert_tf.layers.transformer.{name}"
        for name in ("FeedForward", "TransformerLayer", "CrossModalityLayer")
    ),
]


def example_of(path: str) -> str:
    return inspect.getdoc(pydoc.locate(path)).partition("\nExample:\n")[2]


@pytest.mark.parametrize("path", [*MODEL_CLASSES, *LAYER_CLASSES])
def test_an_example_imports_all_that_it_uses(path):
    tree = ast.parse(textwrap.dedent(example_of(path)))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    known = {}
    exec(compile(ast.Module(imports, []), path, "exec"), known)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    used = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    assert path.rpartition(".")[2] in used
    assert used - made - known.keys() - set(dir(builtins)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("path", [*MODEL_CLASSES, *LAYER_CLASSES])
def test_an_example_runs(path):
    exec(textwrap.dedent(example_of(path)), {})
