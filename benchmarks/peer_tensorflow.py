"""Time the TensorFlow LXMERT of Hugging Face transformers on batches written by `peers.py`.

The script runs in a separate environment (peers-requirements.txt) without lxmert_tf. It prints one
JSON object with the seconds of each batch's steps, the peak memory, and versions.
"""

import argparse
import json
import resource
import time

import numpy as np
import tensorflow as tf
import transformers
from transformers import LxmertConfig, TFLxmertForPreTraining, TFLxmertModel

# The Keras that transformers uses: Keras 2 or tf-keras.
from transformers.modeling_tf_utils import keras

WARM_UP = 3
LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM, EPSILON = 1e-5, 0.01, 1.0, 1e-6
TOP_K = 5


def main() -> None:
    """Build a model with random weights, time it, and print the times."""
    args = _arguments()
    keras.utils.set_random_seed(0)
    if args.precision == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    with np.load(args.inputs) as file:
        about = json.loads(str(file["about"]))
        batches = [_batch(file, number, args.length) for number in range(about["batches"])]
    step = (_answering if about["task"] == "answer" else _training)(about, batches[0])
    warm_up = max(WARM_UP, len(batches))
    seconds = [[] for _ in batches]
    for number in range(warm_up + args.steps):
        batch = number % len(batches)
        start = time.perf_counter()
        step(batches[batch]).numpy()
        if number >= warm_up:
            seconds[batch].append(time.perf_counter() - start)
    versions = {"tensorflow": tf.__version__, "transformers": transformers.__version__}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"seconds": seconds, "peak_memory_mb": memory, "versions": versions}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", required=True, metavar="FILE.npz", help="batches from peers.py")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--length",
        type=int,
        metavar="N",
        help="pad to N word pieces instead of the longest sentence",
    )
    parser.add_argument(
        "--steps", type=int, default=8, metavar="N", help="timed steps (default: 8)"
    )
    return parser.parse_args()


def _batch(file, number: int, length: int | None) -> dict[str, tf.Tensor]:
    prefix = f"{number}/"
    arrays = {name[len(prefix) :]: file[name] for name in file.files if name.startswith(prefix)}
    for name in [name for name in arrays if name.endswith("_labels")]:
        # These losses cannot ignore labels; any valid label costs the same time.
        arrays[name] = np.maximum(arrays[name], 0)
    if length:
        missing = length - arrays["token_ids"].shape[1]
        for name in ("token_ids", "segment_ids", "padding_mask", "masked_lm_labels"):
            if name in arrays:
                arrays[name] = np.pad(arrays[name], [(0, 0), (0, missing)])
    return {name: tf.constant(array) for name, array in arrays.items()}


def _config(about) -> LxmertConfig:
    sizes = about["config"]
    return LxmertConfig(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["hidden_size"],
        num_attention_heads=sizes["num_attention_heads"],
        intermediate_size=sizes["intermediate_size"],
        l_layers=sizes["language_layers"],
        x_layers=sizes["cross_layers"],
        r_layers=sizes["relationship_layers"],
        visual_feat_dim=sizes["region_feature_size"],
        num_qa_labels=sizes["num_answers"],
        num_object_labels=sizes["num_objects"],
        num_attr_labels=sizes["num_attributes"],
        hidden_dropout_prob=sizes["hidden_dropout"],
        attention_probs_dropout_prob=sizes["attention_dropout"],
        max_position_embeddings=sizes["max_position_embeddings"],
    )


class AnswerModel(keras.Model):
    """LXMERT with the answer head of the paper; it returns float32 logits [B, A]."""

    def __init__(self, config: LxmertConfig):
        super().__init__()
        self.backbone = TFLxmertModel(config)
        self.head = keras.Sequential(
            [
                keras.layers.Dense(2 * config.hidden_size, activation="gelu"),
                keras.layers.LayerNormalization(epsilon=1e-12),
                keras.layers.Dense(config.num_qa_labels),
            ]
        )

    def call(self, batch, training=False):
        pooled = self.backbone(_inputs(batch), training=training).pooled_output
        return tf.cast(self.head(pooled), tf.float32)


def _inputs(batch):
    return {
        "input_ids": batch["token_ids"],
        "attention_mask": batch["padding_mask"],
        "token_type_ids": batch["segment_ids"],
        "visual_feats": batch["region_features"],
        "visual_pos": batch["region_boxes"],
    }


def _signature(batch) -> dict[str, tf.TensorSpec]:
    """Return a signature for any batch size and length, so that a step is traced once."""
    return {
        name: tf.TensorSpec([None, None, *tensor.shape[2:]][: tensor.shape.rank], tensor.dtype)
        for name, tensor in batch.items()
    }


def _answering(about, batch):
    model = AnswerModel(_config(about))
    top_k = min(TOP_K, about["config"]["num_answers"])

    @tf.function(input_signature=[_signature(batch)])
    def step(batch):
        return tf.math.top_k(tf.sigmoid(model(batch)), top_k).values

    return step


def _training(about, batch):
    config = _config(about)
    optimizer = keras.optimizers.AdamW(
        LEARNING_RATE, WEIGHT_DECAY, epsilon=EPSILON, global_clipnorm=CLIP_NORM
    )
    model = AnswerModel(config)
    loss_of = _answer_loss
    if about["task"] == "pretrain":
        model, loss_of = TFLxmertForPreTraining(config), _pretraining_loss

    @tf.function(input_signature=[_signature(batch)])
    def step(batch):
        with tf.GradientTape() as tape:
            loss = loss_of(model, batch)
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = [(g, v) for g, v in zip(gradients, model.trainable_variables) if g is not None]
        optimizer.apply_gradients(pairs)
        return loss

    return step


def _answer_loss(model, batch):
    logits = model(batch, training=True)
    terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch["scores"], logits=logits)
    return tf.reduce_mean(tf.reduce_sum(terms, axis=1))


def _pretraining_loss(model, batch):
    outputs = model(
        **_inputs(batch),
        masked_lm_labels=batch["masked_lm_labels"],
        matched_label=batch["matched_labels"],
        ans=batch["answer_labels"],
        obj_labels={
            "obj": (batch["object_labels"], batch["object_confidences"]),
            "attr": (batch["attribute_labels"], batch["attribute_confidences"]),
            "feat": (batch["region_feature_targets"], batch["region_feature_mask"]),
        },
        training=True,
    )
    return outputs.loss


if __name__ == "__main__":
    main()
