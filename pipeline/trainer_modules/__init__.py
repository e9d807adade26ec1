"""The Trainer components' `run_fn` modules."""
