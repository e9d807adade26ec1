"""`lxmert pipeline`: runs a TFX pipeline, or tells of its runs."""

import argparse
import pathlib

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation import TASKS

ROOTS = pathlib.Path("build/pipeline")
METADATA = "metadata.sqlite"
SUMMARY = "run a TFX pipeline from pictures to a pushed model, or tell of its runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_run(actions)
    _add_compile(actions)
    _add_predict(actions)
    status_parser = actions.add_parser("status", help="runs, artifacts and lineage of models")
    status_parser.add_argument(
        "--root", metavar="DIR", help="of a pipeline (default: each under build/pipeline)"
    )
    status_parser.set_defaults(act=_status)


def run(args: argparse.Namespace) -> int:
    """Does what the action says."""
    return args.act(args)


def _add_run(actions) -> None:
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
    run_parser.set_defaults(act=_run)


def _add_compile(actions) -> None:
    parser = actions.add_parser("compile", help="write the pipeline for a platform; runs nothing")
    parser.add_argument("--config", required=True, metavar="FILE")
    parser.add_argument("--runner", required=True, choices=("kubeflow",))
    parser.add_argument("--output", required=True, metavar="FILE", help="the specification (JSON)")
    parser.add_argument(
        "--root", required=True, metavar="URI", help="for artifacts, such as gs://BUCKET/lxmert"
    )
    parser.add_argument(
        "--push-to", metavar="URI", help="for blessed models (default ROOT/saved_models/NAME)"
    )
    parser.add_argument(
        "--image", required=True, metavar="NAME", help="made with deploy/Dockerfile"
    )
    parser.set_defaults(act=_compile)


def _add_predict(actions) -> None:
    parser = actions.add_parser(
        "predict", help="answer new questions with the newest blessed model, as a submission file"
    )
    parser.add_argument("--root", required=True, metavar="DIR", help="of the pipeline that ran")
    parser.add_argument(
        "--data", required=True, metavar="FILE", help="such as configs/ingest/vqa.yaml"
    )
    parser.add_argument("--split", required=True, metavar="NAME", help="one of its splits")
    parser.add_argument("--task", required=True, choices=TASKS, help="whose submission")
    parser.add_argument("--output", required=True, metavar="FILE", help="the submission")
    parser.set_defaults(act=_predict)


def _run(args: argparse.Namespace) -> int:
    """Runs the pipeline; GateError if the model is not good enough to be pushed."""
    from pipeline.config import load_pipeline

    # Before TFX is imported, which takes many seconds.
    config = load_pipeline(args.config)

    name = config.pipeline.name
    root = args.root or str(ROOTS / name)
    push_to = args.push_to or f"saved_models/{name}"
    if args.dry_run:
        from pipeline.graph_table import print_graph
        from pipeline.pipeline import create_components

        print_graph(create_components(config, push_to))
        return 0

    from lxmert_tf.evaluation.evaluate import print_accuracy
    from pipeline.evaluation_report import write_report
    from pipeline.run_record import print_states
    from pipeline.runners.local import run_local

    record = run_local(config, root, push_to, args.from_component)
    print_states(record)
    print_accuracy(record.accuracy())
    print(f"report: {write_report(config, record, root)}")
    record.check_blessed()
    print(f"pushed: {record.pushed_to}")
    return 0


def _status(args: argparse.Namespace) -> int:
    """Prints what ML Metadata knows."""
    roots = [pathlib.Path(args.root)] if args.root else sorted(ROOTS.glob("*/"))
    if not roots:
        raise InputError(f"{ROOTS}: no pipeline has run there; name its folder with --root DIR")

    from pipeline.metadata_status import print_status, read_status

    for root in roots:
        print(root)
        print_status(read_status(root / METADATA))
    return 0


def _compile(args: argparse.Namespace) -> int:
    """Writes the specification for a platform."""
    from pipeline.config import load_pipeline

    config = load_pipeline(args.config)

    from pipeline.runners.kubeflow import compile_kubeflow

    push_to = args.push_to or f"{args.root}/saved_models/{config.pipeline.name}"
    compile_kubeflow(config, args.root, push_to, args.image, args.output)
    print(f"written to {args.output}")
    return 0


def _predict(args: argparse.Namespace) -> int:
    """Answers the questions of a split."""
    from lxmert_tf.config_file import load_config
    from pipeline.ingest.config import IngestConfig

    data = load_config(IngestConfig, args.data)

    from pipeline.batch_prediction import predict

    count = predict(args.root, data, args.split, args.task, args.output)
    print(f"{count:,} answers written to {args.output}")
    return 0
