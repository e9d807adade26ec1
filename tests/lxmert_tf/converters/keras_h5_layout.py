"""Writer of HDF5 files with the layout of transformers' TensorFlow models."""

import json
import re

import h5py
import numpy as np

from lxmert_tf.converters.foreign_config import to_huggingface
from lxmert_tf.converters.weight_names import model_variables

# The layers of TFLxmertForPreTraining, by the first part of the release's names.
_LAYERS = {
    "bert": "lxmert",
    "cls": "cls",
    "obj_predict_head": "obj_predict_head",
    "answer_head": "answer_head",
}
_NORM = re.compile(r"(LayerNorm|layer_norm|logit_fc\.2)\.\w+$")


def dataset_path(name: str, model: str = "tf_lxmert_for_pre_training") -> str:
    """Return the path at which transformers' Keras model stores a tensor of the release."""
    first, rest = name.split(".", 1)
    layer = _LAYERS[first]
    own, part = rest.rsplit(".", 1) if "." in rest else ("", rest)
    if _NORM.search(name):
        part = {"weight": "gamma", "bias": "beta"}[part]
    elif part == "weight" and re.search(r"(position|token_type)_embeddings$", own):
        part = "embeddings"
    elif part == "weight" and not own.endswith("word_embeddings"):
        part = "kernel"
    own = re.sub(r"/(\d+)", r"_._\1", own.replace(".", "/"))
    # The only layer whose name contains a period.
    own = own.replace("decoder_dict/", "decoder_dict.")
    return "/".join([layer, model, layer, *([own] if own else []), f"{part}:0"])


def write_keras_h5(path, variables, model: str = "tf_lxmert_for_pre_training") -> None:
    """Write the values of `NamedVariable`s; the masked-LM layer repeats the embeddings."""
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.15.0"
        file.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros([0])
        tensors = {}
        for named in variables:
            tensors.update(named.split(named.variable.numpy()))
        has_masked_lm = "cls.predictions.bias" in tensors
        for name, value in tensors.items():
            place = dataset_path(name, model)
            file[place] = np.ascontiguousarray(value.T if "/kernel:0" in place else value)
            if has_masked_lm and name.startswith("bert.embeddings."):
                file[place.replace("lxmert/", "cls/", 1)] = value


def write_h5_directory(model, directory, name: str = "tf_lxmert_for_pre_training"):
    """Write the directory of a TensorFlow model of transformers and return its path."""
    directory.mkdir()
    write_keras_h5(directory / "tf_model.h5", model_variables(model), name)
    config = to_huggingface(model.config, "LxmertForPreTraining")
    (directory / "config.json").write_text(json.dumps(config))
    return directory
