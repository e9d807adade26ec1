"""The Beam transforms of ingestion, one step each."""
