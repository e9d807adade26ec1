"""The order in which requirements/setup-venv.sh looks for CPython."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "requirements" / "setup-venv.sh"


def fake_python(path, version=(3, 10), starts=True):
    """Writes an executable that answers like a Python, or like a pyenv shim without one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not starts:
        body = 'echo "pyenv: python3.10: command not found" >&2; exit 127'
    else:
        # The script's question about the version is put to a real Python that is told to lie.
        prelude = (
            f"import sys; sys.version_info = {(*version, 0)}\n"
            f"sys.executable, sys.base_prefix = {str(path)!r}, '/nowhere'"
        )
        body = (
            f'if [ "$1" = --version ]; then echo Python {version[0]}.{version[1]}.0; exit; fi\n'
            f"exec '{sys.executable}' -I -S -c \"{prelude}\n$3\""
        )
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def search(tmp_path):
    """Runs the search with the given folders on PATH, and pyenv below tmp_path."""

    def run(*path, python=None, stack="default"):
        env = {
            "STACK": stack,
            "PATH": os.pathsep.join([*map(str, path), "/usr/bin", "/bin"]),
            "HOME": str(tmp_path),
            **({"PYTHON": str(python)} if python else {}),
        }
        return subprocess.run(
            ["sh", str(SCRIPT), "--print-python"], env=env, capture_output=True, text=True
        )

    return run


def test_python_variable_comes_first(search, tmp_path):
    on_path = fake_python(tmp_path / "bin" / "python3.10")
    named = fake_python(tmp_path / "my pythons" / "python")
    assert search(on_path.parent, python=named).stdout.strip() == str(named)


def test_python_variable_of_another_version_is_refused(search, tmp_path):
    on_path = fake_python(tmp_path / "bin" / "python3.10")
    named = fake_python(tmp_path / "named" / "python", version=(3, 11))
    result = search(on_path.parent, python=named)
    assert result.returncode == 2
    assert "Python 3.11.0, but CPython 3.10 is needed" in result.stderr
    assert result.stderr.count("\n") == 1


def test_shim_that_does_not_start_is_passed_over(search, tmp_path):
    shim = fake_python(tmp_path / "shims" / "python3.10", starts=False)
    real = fake_python(tmp_path / "a bin" / "python3.10")
    assert search(shim.parent, real.parent).stdout.strip() == str(real)


def test_newest_pyenv_version_comes_after_path(search, tmp_path):
    shim = fake_python(tmp_path / "shims" / "python3.10", starts=False)
    for patch in ("3.10.2", "3.10.13", "3.10.9", "3.9.18"):
        fake_python(tmp_path / ".pyenv" / "versions" / patch / "bin" / "python3.10")
    chosen = search(shim.parent).stdout.strip()
    # A machine with a python3.10 of its own in /usr/bin rightly takes that one.
    assert Path(chosen).parts[-3] == "3.10.13" or chosen.startswith("/usr/bin")


def test_the_newest_version_of_the_stack_comes_first_wherever_it_is(search, tmp_path):
    on_path = fake_python(tmp_path / "bin" / "python3.11", version=(3, 11))
    fake_python(on_path.parent / "python3.10")
    versions = tmp_path / ".pyenv" / "versions"
    newer = fake_python(versions / "3.12.1" / "bin" / "python3.12", version=(3, 12))
    chosen = search(on_path.parent, stack="today").stdout.strip()
    assert chosen == str(newer) or chosen.startswith("/usr/bin")


def test_python_variable_of_no_version_of_the_stack_is_refused(search, tmp_path):
    named = fake_python(tmp_path / "named" / "python")
    result = search(python=named, stack="today")
    assert result.returncode == 2
    assert "Python 3.10.0, but CPython 3.13, 3.12 or 3.11 is needed" in result.stderr


def test_unknown_stack_is_refused(search):
    result = search(stack="tomorrow")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "set-up: STACK=tomorrow is not known (known: default, today).\n"
