"""Names of the files in the root of a pipeline."""

METADATA_FILE = "metadata.sqlite"
# The page with the evaluation of the last run.
REPORT = "report.html"
