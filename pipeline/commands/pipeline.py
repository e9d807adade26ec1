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
    run_parser.add_argument(
        "--from",
        dest="from_component",
        metavar="COMPONENT",
        help="begin with it, on what the last run made before it",
    )
    run_parser.add_argument(
        "--dry-run", action="store_true", help="print the graph and run nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the pipeline; GateError if the model is not good enough to be pushed."""
    from pipeline.config import load_pipeline

    # Before TFX is imported, which takes many seconds.
    config = load_pipeline(args.config)

    name = config.pipeline.name
    root = args.root or f"build/pipeline/{name}"
    push_to = args.push_to or f"saved_models/{name}"
    if args.dry_run:
        from pipeline.graph import create_components
        from pipeline.graph_table import print_graph

        print_graph(create_components(config, push_to))
        return 0

    from lxmert_tf.tasks.evaluation import print_accuracy
    from pipeline.run_record import print_states
    from pipeline.runners.local import run_local

    record = run_local(config, root, push_to, args.from_component)
    print_states(record)
    print_accuracy(record.accuracy())
    record.check_blessed()
    print(f"pushed: {record.pushed_to}")
    return 0
