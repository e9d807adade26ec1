"""Names of the files in the root of a pipeline that only the pipeline reads."""

METADATA_FILE = "metadata.sqlite"
