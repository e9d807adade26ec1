"""Names of the files with results that commands leave, and that `lxmert app --results` shows."""

# The page with the evaluation of a pipeline's last run, in its root.
REPORT = "report.html"
# The losses and metrics of a training, in its directory.
LOG = "log.jsonl"
# Which answers a model gives in place of which: of a pipeline's last run, or of `lxmert evaluate`.
PREDICTIONS = "predictions.json"
# The description of an exported model, among its extra files.
MODEL_CARD = "model_card.md"
