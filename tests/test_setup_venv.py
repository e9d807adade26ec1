"""Tests of requirements/setup-venv.sh, with a stand-in for uv that writes down how it is called."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STACK = "default" if sys.version_info < (3, 11) else "today"
VENV = {"default": ".venv", "today": ".venv-today"}[STACK]
NEWEST = {"default": "3.10", "today": "3.13"}[STACK]
# Finds any version of Python unless $NO_PYTHON is set; cannot install packages if $FAIL is set.
UV = """#!/bin/sh
echo "$@" >>calls
case "$1 $2" in
    "python find") for version; do :; done; [ -z "$NO_PYTHON" ] && echo "/found/$version" ;;
    "venv "*)
        for venv; do :; done
        rm -rf "$venv" && mkdir -p "$venv/bin" && ln -s "$REAL" "$venv/bin/python" ;;
    "pip sync") echo "$UV_DEFAULT_INDEX" >index; [ -z "$FAIL" ] ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A folder with the files of the set-up, and a folder for PATH with the stand-in."""
    folder = tmp_path / "a project"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder)
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV)
    uv.chmod(0o755)
    return folder


def set_up(folder, **variables):
    """Run the script; return its result, and the calls of uv that change something."""
    (folder / "calls").unlink(missing_ok=True)
    environment = {
        "STACK": STACK,
        "REAL": sys.executable,
        "PIP_INDEX_URL": "https://index.example/simple",
        "HOME": str(folder.parent),
        "PATH": f"{folder.parent / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        **variables,
    }
    result = subprocess.run(
        ["sh", folder / "requirements" / "setup-venv.sh"],
        env=environment,
        capture_output=True,
        text=True,
    )
    calls = (folder / "calls").read_text() if (folder / "calls").exists() else ""
    changes = [line for line in calls.splitlines() if line.startswith(("venv", "pip"))]
    return result, changes


def fake_python(folder, body):
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    return python


def kinds(changes):
    return [" ".join(change.split()[:2]) for change in changes]


NEW = ["venv -q", "pip sync", "pip install"]
UPDATE = ["pip sync", "pip install"]


def test_environment_is_created_once(project):
    result, changes = set_up(project)
    assert (result.returncode, kinds(changes)) == (0, NEW)
    assert set_up(project)[1] == []


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "requirements/no-deps.txt"])
def test_changed_requirements_update_the_environment(project, name):
    set_up(project)
    (project / name).write_text((project / name).read_text() + "\n# changed\n")
    assert kinds(set_up(project)[1]) == UPDATE


def test_interrupted_set_up_starts_anew(project):
    result, _ = set_up(project, FAIL="yes")
    assert result.returncode == 2
    assert "set-up: cannot install the packages" in result.stderr
    assert kinds(set_up(project)[1]) == NEW


def test_interrupted_update_starts_anew(project):
    set_up(project)
    (project / "setup.py").write_text("# changed")
    set_up(project, FAIL="yes")
    assert kinds(set_up(project)[1]) == NEW


def test_only_files_with_the_locked_hashes_are_installed(project):
    _, changes = set_up(project)
    [sync] = [call for call in changes if call.startswith("pip sync")]
    assert "--require-hashes" in sync.split()
    for lock in (project / "requirements").glob("lock-*.txt"):
        packages = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
        assert len(packages) > 100 and all("--hash=sha256:" in package for package in packages)


def test_moved_environment_is_replaced(project):
    set_up(project)
    moved = project.rename(project.parent / "moved")
    assert kinds(set_up(moved)[1]) == NEW


def test_named_interpreter_is_used(project):
    _, changes = set_up(project, PYTHON=sys.executable)
    assert f"--python {sys.executable} {VENV}" in changes[0]
    assert set_up(project, PYTHON=sys.executable)[1] == []


@pytest.mark.parametrize("status", [1, 127])
def test_unsuitable_interpreter_is_refused(project, status):
    result, changes = set_up(project, PYTHON=str(fake_python(project, f"exit {status}")))
    assert (result.returncode, changes) == (2, [])
    assert "is not a working CPython of one of these versions: 3.1" in result.stderr
    assert result.stderr.count("\n") == 1


def test_interpreter_of_another_stack_is_refused(project):
    other = {"default": "today", "today": "default"}[STACK]
    result, changes = set_up(project, STACK=other, PYTHON=sys.executable)
    assert (result.returncode, changes) == (2, [])


def test_another_interpreter_replaces_the_environment(project):
    set_up(project)
    # It passes as suitable, and prints another prefix.
    other = fake_python(project, "echo /elsewhere")
    assert kinds(set_up(project, PYTHON=str(other))[1]) == NEW


def test_newest_version_of_the_stack_is_preferred(project):
    assert f"--python /found/cpython@{NEWEST} " in set_up(project)[1][0]


def test_uv_downloads_an_interpreter_where_there_is_none(project):
    assert f"--python cpython@{NEWEST} " in set_up(project, NO_PYTHON="yes")[1][0]


@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_package_index_is_passed_to_uv(project, variable):
    set_up(project, **{variable: "https://mirror.example/simple"})
    assert (project / "index").read_text() == "https://mirror.example/simple\n"


def test_unknown_stack_is_refused(project):
    result, changes = set_up(project, STACK="tomorrow")
    assert (result.returncode, changes) == (2, [])
    assert result.stderr == "set-up: unknown STACK=tomorrow (known: default, today)\n"
