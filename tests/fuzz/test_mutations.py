"""Whatever is done to a file gives a value or one line: no crash, no hang, no file written."""

import gc
import os
import pathlib

import pytest

from lxmert_tf.errors import InputError
from tests.fuzz.formats import FORMATS, Format
from tests.fuzz.harness import CRASH_AT, Finding, check, check_apart
from tests.fuzz.mutations import mutate

# Of all formats together in the slow test; those that take long per file get a tenth of the others.
MUTATIONS = int(os.environ.get("LXMERT_MUTATIONS", "10000"))
FEW = 30
QUICK = [name for name, form in FORMATS.items() if not form.apart]


def shown(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.name} {finding.number}: {finding.problem}" for finding in findings)


@pytest.mark.parametrize("name", QUICK)
def test_a_damaged_file_is_read_or_refused_in_one_line(name):
    findings = check(name, range(1, FEW + 1))
    assert not findings, shown(findings)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_so_is_any_of_thousands(name):
    share = MUTATIONS // len(FORMATS)
    count = max(1, share // 10) if FORMATS[name].slow else share
    findings = check_apart(name, range(1, count + 1), seed=1)
    assert not findings, shown(findings)


def test_a_seed_gives_the_same_mutations_and_another_gives_others():
    content = bytes(range(256))
    mutated = [mutate(content, str(seed)) for seed in range(50)]
    assert mutated == [mutate(content, str(seed)) for seed in range(50)]
    assert len(set(mutated)) > 40 and content not in mutated[:5]


# What the harness must notice.


def _fails(path):
    raise KeyError("x")


def _speaks_in_lines(path):
    raise InputError("a\nb")


def _writes(path):
    pathlib.Path(path.parent, "new").write_text("x")


def _runs(path):
    os.system("true")


def _fills_the_memory(path):
    bytearray(200_000_000).replace(b"\0", b"x", 1)


def _never_ends(path):
    while True:
        try:
            while True:
                pass
        except Exception:
            continue


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (_fails, "KeyError"),
        (_speaks_in_lines, "not one printable line"),
        (_writes, "to write"),
        (_runs, "os.system"),
        (_fills_the_memory, "MB of memory"),
        (_never_ends, "seconds of the processor"),
    ],
)
def test_what_breaks_the_rule_is_found(monkeypatch, read, problem):
    def make(folder):
        (folder / "a").write_text("valid")
        return folder / "a"

    def read_or_break(path):
        if path.read_text() != "valid":
            read(path)

    monkeypatch.setitem(FORMATS, "bad", Format(make, read_or_break))
    monkeypatch.setattr("tests.fuzz.harness.MOST_SECONDS", 0.5)
    monkeypatch.setattr("tests.fuzz.harness.MOST_MEGABYTES", 100)
    monkeypatch.setattr("tests.fuzz.harness.mutation", lambda *_: b"other")
    # What earlier tests left would be freed while the memory is measured.
    gc.collect()
    [finding] = check("bad", range(1, 2))
    assert (finding.name, finding.number) == ("bad", 1) and problem in finding.problem


@pytest.mark.slow
def test_a_crash_is_found_and_the_others_are_read_nevertheless(monkeypatch):
    # The worker imports the harness anew, so the crash is one of its environment.
    monkeypatch.setenv(CRASH_AT, "2")
    [finding] = check_apart("vocabulary", range(1, 5))
    assert finding.number == 2 and "SIGSEGV" in finding.problem
