"""The result of a pipeline run, read from ML Metadata."""

import dataclasses
import pathlib

from lxmert_tf.data import schema
from lxmert_tf.errors import GateError
from lxmert_tf.evaluation.evaluate import OVERALL
from lxmert_tf.evaluation.score_report import ScoreReport
from pipeline.evaluation import AccuracyByValue, load_accuracy, load_failures, load_scores
from pipeline.metadata import RUN, open_metadata, property_of, read_executions
from pipeline.pipeline import BLESSED_MODEL


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The result of one run.

    Args:
        states: "COMPLETE", "CACHED" or "FAILED" by component, in the order of execution.
        uris: Artifact URIs by component and output.
        blessed: Whether the Evaluator blessed the model.
        infra_blessed: Whether the model loaded and answered in TensorFlow Serving; None without
            infra validation.
        pushed_to: The folder of the pushed version; None if nothing was pushed.
        compared: Whether the model was compared with one blessed before.
    """

    states: dict[str, str]
    uris: dict[tuple[str, str], str]
    blessed: bool
    infra_blessed: bool | None
    pushed_to: str | None
    compared: bool

    def accuracy(self) -> AccuracyByValue:
        """Return soft accuracy and number of questions by question type, and for "all"."""
        sliced = self.sliced_accuracy()
        return {**sliced.get(schema.QUESTION_TYPE, {}), **sliced[OVERALL]}

    def sliced_accuracy(self, model: str = "candidate") -> dict[str, AccuracyByValue]:
        """Load soft accuracy and number of questions by feature and value.

        Args:
            model: "candidate", or "baseline" for the model blessed before, if there was one.

        Returns:
            A table for every feature of the slices, and one with the only row "all" under "all".
        """
        name = model if self.compared else ""
        return load_accuracy(self.uris["Evaluator", "evaluation"], name)

    def scores(self, challenge: str) -> ScoreReport:
        """Load the official scores.

        Args:
            challenge: "nlvr" or "nlvr2", whose statements `test` has.
        """
        name = "candidate" if self.compared else ""
        return load_scores(self.uris["Evaluator", "evaluation"], challenge, name)

    @property
    def passed(self) -> bool:
        """True if the model passed all validation."""
        return self.blessed and self.infra_blessed is not False

    def check_blessed(self) -> None:
        """Check that the model was good enough to be pushed.

        Raises:
            GateError: It was not; the message lists the failures.
        """
        if not self.passed:
            raise GateError(f"the model was not pushed: {'; '.join(self.failures())}")

    def failures(self) -> list[str]:
        """Return a line for each validation that the model failed."""
        lines = load_failures(self.uris["Evaluator", "evaluation"])
        if self.infra_blessed is False:
            lines.append("TensorFlow Serving could not load or query the model (InfraValidator)")
        return lines


def read_last_run(metadata_path: str | pathlib.Path) -> RunRecord:
    """Read the newest run of a SQLite metadata file.

    Raises:
        InputError: The file does not exist.
    """
    store = open_metadata(metadata_path)
    run = max(context.id for context in store.get_contexts_by_type(RUN))
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
    states = {}
    outputs = {}
    for execution in read_executions(store):
        if run not in execution.runs:
            continue
        states[execution.component] = execution.state
        for channel, made in execution.outputs.items():
            outputs[execution.component, channel] = artifacts[made[-1]]
    infra_blessing = outputs.get(("InfraValidator", "blessing"))
    pushed = outputs.get(("Pusher", "pushed_model"))
    was_pushed = property_of(pushed, "pushed") == 1
    return RunRecord(
        states=states,
        uris={key: artifact.uri for key, artifact in outputs.items()},
        blessed=property_of(outputs.get(("Evaluator", "blessing")), "blessed") == 1,
        infra_blessed=infra_blessing and property_of(infra_blessing, "blessed") == 1,
        pushed_to=property_of(pushed, "pushed_destination") if was_pushed else None,
        # The Evaluator's inputs do not tell: ML Metadata keeps only one of the two events if the
        # model was compared with itself.
        compared=(BLESSED_MODEL, "model") in outputs,
    )
