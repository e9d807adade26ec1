"""`lxmert pipeline`: runs a TFX pipeline."""

import argparse

SUMMARY = "run a TFX pipeline from pictures to a pushed model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_parser = actions.add_parser("run", help="ingest, train, evaluate, and push if it is good")
    run_parser.add_argument(
        "--config", required=True, metavar="FILE", help="such as configs/pipeline/easy_vqa.yaml"
    )
    run_parser.add_argument(
        "--root", metavar="DIR", help="artifacts and metadata (default build/pipeline/NAME)"
    )
    run_parser.add_argument(
        "--push-to", metavar="DIR", help="for blessed models (default saved_models/NAME)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the pipeline; GateError if the model is not good enough to be pushed."""
    from pipeline.config import load_pipeline

    # Before TFX is imported, which takes many seconds.
    config = load_pipeline(args.config)

    from lxmert_tf.tasks.evaluation import print_accuracy
    from pipeline.run_record import print_states
    from pipeline.runners.local import run_local

    name = config.pipeline.name
    record = run_local(
        config, args.root or f"build/pipeline/{name}", args.push_to or f"saved_models/{name}"
    )
    print_states(record)
    print_accuracy(record.accuracy())
    record.check_blessed()
    print(f"pushed: {record.pushed_to}")
    return 0
