"""Command lines that `lxmert app` refuses before it loads anything."""

import pytest

pytest.importorskip("gradio")


@pytest.mark.parametrize("option", ["examples", "results", "pictures"])
def test_folders_at_a_url_are_refused(refused, option):
    line = refused("app", "--model", "m", f"--{option}", "s3://bucket/folder")
    assert f"--{option} must be on this machine, not at a URL: s3://bucket/folder" in line


def test_wrong_examples_are_refused_before_the_model_is_read(refused, tmp_path):
    line = refused("app", "--model", tmp_path / "m", "--port", 0, "--examples", tmp_path / "none")
    assert f"examples not found: {tmp_path / 'none'}" in line


@pytest.mark.parametrize("name", ["hf://one", "hf://", "hf://a/b/c"])
def test_a_malformed_name_of_the_hub_is_refused(refused, name):
    line = refused("app", "--model", name, "--port", 0)
    assert f"{name}: must be hf://ORGANIZATION/NAME" in line
