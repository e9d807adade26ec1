"""The best epoch: which it is, that its weights come back, and that a resumed run forgets."""

import numpy as np
import pytest
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.training.callbacks import BestEpoch
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig, StageConfig

STEPS_PER_EPOCH = 10


class Validated:
    """A model whose weight is the epoch, and what is kept of it."""

    def __init__(self, directory, metric="val_loss", **arguments):
        self.model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
        self.model.build([None, 1])
        self.model.compile("sgd", "mse")
        self.metric = metric
        self.best = BestEpoch(directory, metric, self.model, **arguments)
        self.best.set_model(self.model)

    def epochs(self, *values: float, first: int = 0) -> list[float]:
        """Ends epochs with these values; returns which was best after each."""
        told = []
        for epoch, value in enumerate(values, start=first):
            self.model.set_weights([np.full([1, 1], epoch)])
            self.model.optimizer.iterations.assign(STEPS_PER_EPOCH * (epoch + 1))
            logs = {self.metric: value}
            self.best.on_epoch_end(epoch, logs)
            told.append(logs.get("best_epoch"))
        return told

    def loaded(self) -> float:
        self.best.load()
        return float(self.model.get_weights()[0][0, 0])


def kept(directory) -> list[str]:
    return sorted(path.stem for path in directory.glob("best-*.index"))


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("val_loss", (3.0, 1.0, 2.0, 1.0), [0, 1, 1, 1]),
        ("val_soft_accuracy", (0.5, 0.4, 0.6, 0.6), [0, 0, 2, 2]),
        ("val_loss", (float("nan"), 2.0, float("nan")), [None, 1, 1]),
    ],
)
def test_losses_fall_and_accuracies_rise(tmp_path, capfd, metric, values, best):
    validated = Validated(tmp_path, metric)
    assert validated.epochs(*values) == best
    assert validated.loaded() == best[-1]
    assert f"best: epoch {best[-1] + 1}, with {metric} " in capfd.readouterr().out


def test_a_run_that_goes_back_forgets_what_came_after(tmp_path):
    # The checkpoint that a run may go back to is that of the first epoch.
    oldest = {"oldest_step": lambda: STEPS_PER_EPOCH}
    Validated(tmp_path, **oldest).epochs(3.0, 2.0, 1.0)
    again = Validated(tmp_path, first_step=STEPS_PER_EPOCH, **oldest)
    assert again.epochs(4.0, 3.5, first=1) == [0, 0]
    assert again.loaded() == 0


def test_weights_that_no_checkpoint_leads_to_go(tmp_path):
    validated = Validated(tmp_path, oldest_step=lambda: 2 * STEPS_PER_EPOCH)
    validated.epochs(4.0, 3.0, 2.0, 1.0)
    assert kept(tmp_path) == ["best-20", "best-30", "best-40"]


def test_damaged_best_weights_are_told(tmp_path):
    validated = Validated(tmp_path)
    validated.epochs(1.0)
    (tmp_path / "best-10.index").write_bytes(b"")
    with pytest.raises(InputError, match="best-10: the best weights cannot be read"):
        validated.loaded()


def test_only_what_is_measured_can_be_best():
    assert FinetuningConfig(best_by="val_soft_accuracy").best_by
    with pytest.raises(InputError, match="it must be one of val_loss, val_accuracy"):
        FinetuningConfig(task="statements", best_by="val_soft_accuracy")
    with pytest.raises(InputError, match="but there are no validation files"):
        FinetuningConfig(best_by="val_loss").check_validation(())
    # A loss of other weights is another loss, and one that is off is not measured.
    stages = (StageConfig(1, {"answers": 0.0}), StageConfig(1))
    assert PretrainingConfig(stages=stages, best_by="val_masked_lm_accuracy").best_by
    for metric in ("val_loss", "val_answers_loss", "val_region_features_accuracy"):
        with pytest.raises(InputError, match=f"best_by is '{metric}'; it must be one of"):
            PretrainingConfig(stages=stages, best_by=metric)
