"""Help, and command lines of `lxmert ingest` and `lxmert pipeline` that are refused."""

import importlib.metadata
import importlib.resources
import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

from lxmert_tf.cli.main import COMMANDS as GROUPS

COMMANDS = [name for group in GROUPS.values() for name in group]
EASY_VQA = importlib.resources.files("lxmert_tf.configs") / "pipeline" / "easy_vqa.yaml"


def test_the_commands_of_library_and_pipeline_are_offered(lxmert):
    assert {"ask", "evaluate", "ingest", "pipeline"} <= set(COMMANDS)
    help_text = lxmert("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in help_text


def test_help_is_printed_without_importing_tensorflow():
    commands = [[], *([name] for name in COMMANDS), ["pipeline", "run"]]
    code = f"""
import sys
from lxmert_tf.cli.main import main
for command in {commands}:
    try:
        main([*command, "--help"])
    except SystemExit as stop:
        assert not stop.code
print([m for m in ("tensorflow", "tfx", "apache_beam", "matplotlib") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    usages = [line for line in lines if line.startswith("usage: ")]
    assert len(usages) == len(commands)
    for usage, command in zip(usages, commands):
        assert usage.startswith(f"usage: {' '.join(['lxmert', *command])} ")


def test_version_is_the_installed_one(lxmert):
    outcome = lxmert("--version")
    assert outcome.stdout == f"lxmert {importlib.metadata.version('lxmert-tf')}\n"


@pytest.mark.parametrize("argv", [[], ["ingest"], ["ask"], ["pipeline"], ["nonsense"], ["--no"]])
def test_wrong_command_lines_are_refused_in_one_line_that_names_the_help(lxmert, argv):
    outcome = lxmert(*argv)
    assert (outcome.status, outcome.stdout) == (2, "")
    [line] = outcome.stderr.splitlines()
    known = " ".join(word for word in argv if word in COMMANDS)
    prog = f"lxmert {known}".strip()
    assert line.startswith(f"{prog}: ") and line.endswith(f"; see {prog} --help")


def test_ingest_without_a_source_names_the_options(refused):
    line = refused("ingest", "--output", "out")
    assert "name one of --config FILE, --regions GLOB... with --sentences GLOB..., and" in line


def test_ingest_of_an_unknown_source_names_those_there_are(refused):
    line = refused("ingest", "--source", "easy", "--split", "train", "--output", "out")
    assert "unknown source 'easy'; it must be one of easy_vqa" in line


def test_ingest_of_an_unknown_split_names_those_there_are(refused):
    line = refused("ingest", "--source", "easy_vqa", "--split", "dev", "--output", "out")
    assert "easy_vqa has no split 'dev'; it must be one of train, test" in line


def test_ingest_of_a_negative_number_of_images_is_refused(refused):
    line = refused(
        "ingest", "--source", "easy_vqa", "--split", "test", "--limit", "-3", "--output", "out"
    )
    assert "limit is -3; it must be at least 1" in line


def test_ingest_config_with_an_unknown_key_is_refused(refused, tmp_path):
    config = tmp_path / "ingest.yaml"
    config.write_text("source: easy_vqa\nrecords: {split: train, layot: flat}\n")
    line = refused("ingest", "--config", config, "--output", "out")
    assert f"{config}: unknown key 'records.layot'; did you mean 'layout'?" in line


def test_a_misplaced_key_is_told_where_it_belongs(refused, tmp_path):
    config = tmp_path / "ingest.yaml"
    config.write_text("regions: [a.tsv]\nsentences: [a.json]\nrecords: {from: all}\n")
    line = refused("ingest", "--config", config, "--output", "out")
    assert f"{config}: unknown key 'regions'; it belongs to parts.NAME.regions" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--config", "a.yaml", "--sentences", "b"), "--sentences cannot be used with --config"),
        (("--config", "a.yaml", "--source", "easy_vqa"), "name one of --config FILE"),
        (("--source", "easy_vqa"), "--source NAME needs --split NAME"),
        (("--regions", "a.tsv"), "--regions needs --sentences GLOB... and --sentences-format"),
        (
            ("--regions", "a.tsv", "--sentences", "b", "--sentences-format", "vqa", "--split", "x"),
            "--split cannot be used with --regions",
        ),
        (
            ("--regions", "a.tsv", "--sentences", "b", "--sentences-format", "vqa"),
            "unknown sentences format 'vqa'; it must be one of vqa_release",
        ),
        (
            ("--regions", "a.tsv", "--sentences", "b", "--sentences-format", "vqa_release"),
            "no files match b",
        ),
        (
            ("--source", "easy_vqa", "--split", "test", "--workers", "0"),
            "workers is 0; it must be at least 1",
        ),
        (
            ("--source", "easy_vqa", "--split", "test", "--max-reject-fraction", "2"),
            "--max-reject-fraction is 2.0; it must be at most 1",
        ),
    ],
)
def test_ingest_options_that_make_no_sense_are_refused(refused, options, message):
    assert message in refused("ingest", *options, "--output", "out")


@pytest.mark.parametrize("option", ["--output", "--config", "--source"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_value_is_refused(refused, option, value):
    line = refused("ingest", option, value)
    assert line.endswith(f"argument {option}: the value is empty; see lxmert ingest --help")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{files: [q], format: jsonl}", "parts.all.sentences[0].format is 'jsonl'; it must be one"),
        ("{files: [q], format: json_lines}", "splits: '..' is not the name of a folder"),
    ],
)
def test_values_of_a_config_are_refused_by_file_and_key(refused, tmp_path, text, message):
    config = tmp_path / "ingest.yaml"
    split = ".." if "lines" in text else "train"
    config.write_text(
        f"parts: {{all: {{regions: [{{files: [r]}}], sentences: [{text}]}}}}\n"
        f"splits: {{{split}: {{from: all}}}}\n"
    )
    line = refused("ingest", "--config", config, "--output", tmp_path / "new")
    assert f"{config}: {message}" in line
    assert [path.name for path in tmp_path.iterdir()] == ["ingest.yaml"]


def test_ingest_with_workers_on_another_runner_is_refused(refused):
    arguments = ["ingest", "--source", "easy_vqa", "--split", "test", "--output", "out"]
    line = refused(*arguments, "--workers", "2", "--", "--runner=FlinkRunner")
    assert "workers is for this machine; another runner has options of its own" in line


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_ingest_leaves_existing_files_alone(refused, tmp_path, kind):
    taken = tmp_path / "out"
    if kind == "file":
        taken.write_text("mine")
    else:
        taken.mkdir()
        (taken / "mine").touch()
    line = refused("ingest", "--source", "easy_vqa", "--split", "test", "--output", "out")
    assert "out: already exists" in line


def test_ingest_prints_the_counts_that_it_writes(lxmert, tmp_path):
    (tmp_path / "ingest.yaml").write_text(
        "source: easy_vqa\nrecords: {split: test, layout: flat, limit: 3}\nshards: 2\n"
    )
    outcome = lxmert("ingest", "--config", "ingest.yaml", "--output", "deep/out")
    assert (outcome.status, outcome.stderr) == (0, "")
    names = sorted(path.name for path in (tmp_path / "deep").rglob("*") if path.is_file())
    assert [name for name in names if not name.startswith("scenes-")] == [
        "extractor.json",
        "ingest-summary.json",
    ]
    summary = json.loads((tmp_path / "deep" / "out" / "ingest-summary.json").read_text())
    assert summary["images"] == {"read": 3, "written": 3, "rejected": 0}
    for kind in ("images", "sentences"):
        [row] = [line for line in outcome.stdout.splitlines() if f"│ {kind} " in line]
        counts = [int(cell) for cell in row.replace("│", " ").split()[1:]]
        assert counts == list(summary[kind].values())


def test_pipeline_without_its_config_is_refused(refused):
    line = refused("pipeline", "run", "--config", "nowhere.yaml")
    assert "nowhere.yaml: No such file or directory" in line


def test_pipeline_config_with_an_unknown_key_is_refused(refused, tmp_path):
    config = tmp_path / "p.yaml"
    config.write_text(EASY_VQA.read_text().replace("least_accuracy", "least_acuracy"))
    line = refused("pipeline", "run", "--config", config)
    assert f"{config}: unknown key 'least_acuracy'; did you mean 'least_accuracy'?" in line


def test_pipeline_whose_model_file_is_missing_is_refused(refused, tmp_path):
    config = tmp_path / "p.yaml"
    config.write_text(EASY_VQA.read_text())
    line = refused("pipeline", "run", "--config", config)
    assert "mini.yaml: No such file or directory" in line


def test_without_tfx_the_pipeline_says_which_extra_brings_it(refused, tmp_path):
    if importlib.util.find_spec("tfx"):
        pytest.skip("TFX is installed")
    shutil.copytree(EASY_VQA.parents[1], tmp_path / "configs")
    line = refused("pipeline", "run", "--config", "configs/pipeline/easy_vqa.yaml")
    assert line.endswith("pip install 'lxmert-tf[pipeline]' (needs glibc 2.39 or newer)")
