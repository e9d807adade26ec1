"""YAML and JSON are read into dataclasses, and every error is one useful line."""

import dataclasses
import json
import textwrap

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lxmert_tf import config_file
from lxmert_tf.config_file import config_from_mapping, load_config, read_mapping
from lxmert_tf.errors import InputError
from tests.lxmert_tf.samples import one_line


@dataclasses.dataclass(frozen=True)
class Split:
    percent: list[int] = dataclasses.field(default_factory=list)
    shuffle: bool = True

    def __post_init__(self):
        if any(not 0 <= share <= 100 for share in self.percent):
            raise InputError(f"percent is {self.percent}; it must be within 0 and 100")


@dataclasses.dataclass(frozen=True)
class Pipeline:
    name: str
    rate: float = 0.5
    steps: int = 1
    test: Split = dataclasses.field(default_factory=Split)
    splits: dict[str, Split] = dataclasses.field(default_factory=dict)
    folds: list[Split] = dataclasses.field(default_factory=list)
    baseline: Split | None = None
    window: tuple[int, int] = (0, 1)


@pytest.fixture
def read(tmp_path):
    def read(text, cls=Pipeline):
        path = tmp_path / "pipeline.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return load_config(cls, path)

    return read


def test_nested_dataclasses_are_read(read):
    config = read(
        """
        name: pipeline
        test: {percent: [0, 2]}
        splits: {train: {percent: [2, 100], shuffle: false}}
        folds: [{percent: [1]}]
        baseline: null
        """
    )
    assert config.test == Split([0, 2])
    assert config.splits == {"train": Split([2, 100], shuffle=False)}
    assert config.folds == [Split([1])]
    assert config.baseline is None


def test_json_is_read_as_well_as_yaml(tmp_path):
    (tmp_path / "pipeline.json").write_text(json.dumps({"name": "a", "rate": 1e-12}, indent=1))
    assert load_config(Pipeline, tmp_path / "pipeline.json") == Pipeline("a", rate=1e-12)


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "+1e-4", "0.0001"])
def test_a_rate_may_be_written_in_any_notation(read, text):
    assert read(f"name: a\nrate: {text}").rate == 1e-4


def test_a_whole_number_is_a_rate_but_a_fraction_is_not_a_count(read):
    assert read("name: a\nrate: 2").rate == 2.0
    with pytest.raises(InputError, match=r"steps is 2\.0; it must be an integer"):
        read("name: a\nsteps: 2.0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae: a", "unknown key 'nmae'; did you mean 'name'?"),
        ("name: a\nqqqq: 1", "unknown key 'qqqq'; it must be one of name, rate, steps, test,"),
        ("name: a\ntest: {perzent: [1]}", "unknown key 'test.perzent'; did you mean 'percent'?"),
        (
            "name: a\nsplits: {train: {shufle: true}}",
            "unknown key 'splits.train.shufle'; did you mean 'shuffle'?",
        ),
        ("name: a\nfolds: [{shufle: true}]", "unknown key 'folds[0].shufle'; did you mean"),
        ("name: a\nbaseline: {shufle: true}", "unknown key 'baseline.shufle'; did you mean"),
        ("name: a\ntest: {steps: 2}", "unknown key 'test.steps'; it belongs to the top level"),
        (
            "name: a\npercent: [1]",
            "unknown key 'percent'; it belongs to baseline.percent or folds[N].percent or "
            "splits.NAME.percent or test.percent",
        ),
        ("rate: 0.1", "the key 'name' is missing"),
        ("name: a\nwindow: [1]", "window is [1]; it must have a length of at least 2"),
        ("name: a\nwindow: [1, 2, 3]", "[1, 2, 3]; it must have a length of at most 2"),
        ("name: 3", "name is 3; it must be a string"),
        ("name: a\nsteps: '3'", "steps is '3'; it must be an integer"),
        ("name: a\nsteps: true", "steps is True; it must be an integer"),
        ("name: a\nrate: fast", "rate is 'fast'; it must be a number"),
        ("name: a\ntest: 3", "test is 3"),
        ("name: a\ntest: {shuffle: 'no'}", "test.shuffle is 'no'; it must be true or false"),
        ("name: a\ntest: {percent: [1, x]}", "test.percent[1] is 'x'; it must be an integer"),
        ("name: a\ntest: {percent: [101]}", "percent is [101]; it must be within 0 and 100"),
        ('name: a\nrate: "two\\nlines"', "rate is 'two\\nlines'"),
        ("name: a\nrate: 1\nrate: 2", "line 3: not valid YAML: duplicate key 'rate'"),
        (
            "name: a\ntest:\n  shuffle: true\n  shuffle: true",
            "line 4: not valid YAML: duplicate key",
        ),
        ("name: a\n? [b]\n: c", "line 2: not valid YAML: the key ['b'] is not a string"),
        ("name: a\n2020-01-01: b", "line 2: not valid YAML: the key"),
        ("name: a\nno: b", "line 2: not valid YAML: the key False is not a string"),
        ("name: a\nrate: 2020-13-45", "not valid YAML: month must be in 1..12"),
        ("name: a\nrate: 0b_", "not valid YAML: invalid literal"),
        ("name: a\nfolds: &f [*f]", "a value contains itself"),
        ("name: a\ntest: &t {percent: *t}", "not valid YAML: found unconstructable recursive node"),
        ("name: !!int", "not valid YAML"),
        ("name: !!bool maybe", "not valid YAML"),
        ("name: !!timestamp now", "not valid YAML"),
        ("name: [a", "not valid YAML"),
        ("name: 'a\n", "not valid YAML"),
        ("name: a\x00b", "line 1: not UTF-8 text (a NUL character)"),
        ("name: !!python/object/apply:os.getcwd []", "line 1: not valid YAML"),
        ("- name", "must hold a mapping of keys to values"),
        ("", "must hold a mapping of keys to values"),
    ],
)
def test_an_error_names_the_file_the_key_and_the_rule(read, text, message):
    with pytest.raises(InputError) as raised:
        read(text)
    assert "pipeline.yaml" in one_line(raised)
    assert message in one_line(raised)


def test_a_misspelled_key_is_named_instead_of_the_missing_one(read):
    with pytest.raises(InputError, match="unknown key 'nam'; did you mean 'name'"):
        read("nam: a")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match="No such file or directory") as raised:
        load_config(Pipeline, tmp_path / "absent.yaml")
    assert "absent.yaml" in one_line(raised)
    with pytest.raises(InputError, match="Is a directory"):
        load_config(Pipeline, tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Zürich".encode("latin-1"))
    with pytest.raises(InputError, match=r"not UTF-8 text \(byte 7\)"):
        load_config(Pipeline, tmp_path / "latin.yaml")


def test_deep_nesting_is_refused(tmp_path):
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 2000)
    with pytest.raises(InputError) as raised:
        read_mapping(tmp_path / "deep.yaml")
    assert "nested too deeply" in one_line(raised)


def laughs(first: str, pattern: str, levels: int = 20) -> str:
    """A file in which each line repeats the one before nine times."""
    lines = [f"a0: &a0 {first}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} " + pattern % ", ".join([f"*a{level - 1}"] * 9))
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        laughs("[x, x]", "[%s]"),
        laughs("{x: 1}", "{<<: [%s]}"),
        laughs("x", "[%s]"),
        # A text of 5,000 characters a thousand times.
        f"a: &a {'x' * 5000}\nb: [{'*a, ' * 999} *a]",
    ],
)
def test_aliases_that_multiply_are_refused_before_they_are_expanded(tmp_path, text):
    (tmp_path / "laughs.yaml").write_text(text)
    with pytest.raises(InputError) as raised:
        read_mapping(tmp_path / "laughs.yaml")
    assert "counting what aliases (*) repeat" in one_line(raised)


def test_a_file_of_many_values_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(config_file, "_MOST_VALUES", 100)
    for count, is_read in ((90, True), (110, False)):
        (tmp_path / "many.yaml").write_text(f"a: [{'1, ' * count}]")
        if is_read:
            assert len(read_mapping(tmp_path / "many.yaml")["a"]) == count
            continue
        with pytest.raises(InputError, match="line 1: not valid YAML: more than"):
            read_mapping(tmp_path / "many.yaml")
    monkeypatch.setattr(config_file, "_MOST_CHARACTERS", 300)
    (tmp_path / "many.yaml").write_text("a: 1" + "\n" * 300)
    with pytest.raises(InputError, match="refused: more than 300 characters"):
        read_mapping(tmp_path / "many.yaml")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        # Base 60, which PyYAML converts with arithmetic on ever longer numbers.
        (":".join(["1"] * 400), "int too large to convert to float"),
        (":".join(["1"] * 5000), "a number of more than 1000 characters"),
        ("0x" + "f" * 5000, "a number of more than 1000 characters"),
    ],
)
def test_numbers_that_take_hours_to_convert_are_refused(tmp_path, number, message):
    text = f"a: {number}.5" if "float" in message else f"a: {number}"
    (tmp_path / "number.yaml").write_text(text)
    with pytest.raises(InputError) as raised:
        read_mapping(tmp_path / "number.yaml")
    assert message in one_line(raised)


YAML_PIECES = st.sampled_from(
    ["name", "a", ": ", ":", "\n", "- ", "  ", "{", "}", "[", "]", ", ", "&x ", "*x", "!!", "!!int",
     " ", "'", '"', "? ", "|", ">", "#", "%", "@", "<<", "=", "~", "1", "0b", "0x_", "1e5", ".nan",
     "\t", "2020-01-01", "2020-13-45", "12:30:99", "yes", "\x00", "\u2028", "é", "---", "..."]
)  # fmt: skip


@settings(max_examples=150, derandomize=True)
@given(st.lists(YAML_PIECES, max_size=12).map("".join))
@example("<<: {name: a}")
def test_any_content_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        config = load_config(Pipeline, path)
    except InputError as error:
        assert str(error).startswith(str(path))
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(config, Pipeline)


@settings(max_examples=50, derandomize=True)
@given(
    st.builds(
        Pipeline,
        name=st.text(),
        rate=st.floats(allow_nan=False),
        steps=st.integers(-(2**60), 2**60),
        test=st.builds(Split, st.lists(st.integers(0, 100)), st.booleans()),
        splits=st.dictionaries(st.text(), st.builds(Split), max_size=3),
        folds=st.lists(st.builds(Split), max_size=3),
        baseline=st.none() | st.builds(Split),
    )
)
def test_a_written_dataclass_is_read_back_unchanged(config):
    assert config_from_mapping(Pipeline, dataclasses.asdict(config), "memory") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n---\n", "the file is empty"),
        ("a:\n\tb: 1\n", "line 2: .* indented with a tab; use spaces"),
    ],
)
def test_a_file_without_keys_and_tabs_are_named(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"config\.yaml:? {message}"):
        read_mapping(path)


def test_keys_of_another_mapping_are_merged(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n")
    assert read_mapping(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
