"""`lxmert pipeline`: run a TFX pipeline, or show its runs."""

import argparse
import pathlib

from lxmert_tf.cli.arguments import add_override_argument, positive_int
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation import TASKS
from lxmert_tf.result_files import REPORT
from lxmert_tf.runtime import keep_freed_memory
from lxmert_tf.serving.layout import SAVED_MODEL_GRAPH
from lxmert_tf.storage import basename, is_url, join, list_directory
from lxmert_tf.stored_folder import UNFINISHED, upload_directory
from pipeline.root_files import METADATA_FILE

# In the root, what is pushed to a URL.
PUSHED = "pushed"
ROOTS = pathlib.Path("build/pipeline")
# The root of the demo's run.
DEMO_ROOT = pathlib.Path("build/demo/pipeline")
# Examples of `--set`.
OVERRIDES = "least_accuracy=0.6, or task.epochs=2 in the file that `task` names"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_run(actions)
    _add_compile(actions)
    _add_predict(actions)
    status_parser = actions.add_parser(
        "status", help="show runs, artifacts and the lineage of models"
    )
    status_parser.add_argument(
        "--root",
        metavar="DIR",
        help=f"root of a pipeline (default: all under {ROOTS}, and {DEMO_ROOT})",
    )
    status_parser.set_defaults(act=_status)
    report_parser = actions.add_parser(
        "report", help="open the report of the last run: accuracy by slice, and learning curves"
    )
    report_parser.add_argument(
        "--root", metavar="DIR", help="root of the pipeline (default: as for status, if it is one)"
    )
    report_parser.add_argument(
        "--no-browser", action="store_true", help="only print where the report is"
    )
    report_parser.set_defaults(act=_report)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return args.act(args)


def _add_run(actions) -> None:
    run_parser = actions.add_parser("run", help="ingest, train, evaluate, and push a good model")
    run_parser.add_argument(
        "--config", required=True, metavar="FILE", help="e.g. configs/pipeline/easy_vqa.yaml"
    )
    run_parser.add_argument(
        "--root", metavar="DIR", help="local folder for artifacts (default build/pipeline/NAME)"
    )
    add_override_argument(run_parser, OVERRIDES)
    run_parser.add_argument(
        "--push-to",
        metavar="DIR",
        help="folder or URL for blessed models (default saved_models/NAME)",
    )
    run_parser.add_argument(
        "--from",
        dest="from_component",
        metavar="COMPONENT",
        help="start from this component, on the results of the last run before it",
    )
    run_parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="processes that ingest (default 1); more pay with many images",
    )
    run_parser.add_argument(
        "--dry-run", action="store_true", help="print the components without running them"
    )
    run_parser.set_defaults(act=_run)


def _add_compile(actions) -> None:
    parser = actions.add_parser(
        "compile", help="compile the pipeline for Vertex AI, in the format of Kubeflow Pipelines"
    )
    parser.add_argument("--config", required=True, metavar="FILE")
    add_override_argument(parser, OVERRIDES)
    parser.add_argument("--runner", required=True, choices=("kubeflow",))
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="the specification to write (JSON)"
    )
    parser.add_argument(
        "--root", required=True, metavar="URI", help="for artifacts, e.g. gs://BUCKET/lxmert"
    )
    parser.add_argument(
        "--push-to", metavar="URI", help="for blessed models (default ROOT/saved_models/NAME)"
    )
    parser.add_argument(
        "--image", required=True, metavar="NAME", help="container image of deploy/Dockerfile"
    )
    parser.set_defaults(act=_compile)


def _add_predict(actions) -> None:
    parser = actions.add_parser(
        "predict", help="answer new questions with the last blessed model, as a submission file"
    )
    parser.add_argument("--root", required=True, metavar="DIR", help="root of the pipeline")
    parser.add_argument(
        "--data", required=True, metavar="FILE", help="e.g. configs/ingest/vqa.yaml"
    )
    parser.add_argument("--split", required=True, metavar="NAME", help="a split of the data")
    parser.add_argument("--task", required=True, choices=TASKS, help="format of the submission")
    parser.add_argument("--output", required=True, metavar="FILE", help="the submission to write")
    parser.set_defaults(act=_predict)


def _run(args: argparse.Namespace) -> int:
    from pipeline.config import load_pipeline

    # Check the configuration before the slow import of TFX.
    config = load_pipeline(args.config, args.overrides)

    name = config.pipeline.name
    root = args.root or str(ROOTS / name)
    if is_url(root):
        raise InputError(
            f"--root {root}: a run on this machine keeps its metadata in a local file; name a "
            "local folder, or compile the pipeline for Kubeflow"
        )
    push_to = args.push_to or f"saved_models/{name}"
    if args.dry_run:
        from pipeline.pipeline import create_components
        from pipeline.runners.local import print_graph

        print_graph(create_components(config, push_to))
        return 0

    keep_freed_memory()

    from lxmert_tf.evaluation.evaluate import print_accuracy
    from pipeline.run_report import print_states, write_report
    from pipeline.runners.local import run_local

    # The Pusher writes to local folders.
    pushed_locally = str(pathlib.Path(root, PUSHED)) if is_url(push_to) else push_to
    record = run_local(config, root, pushed_locally, args.from_component, args.workers)
    print_states(record)
    if config.challenge is None:
        print_accuracy(record.accuracy())
    else:
        record.scores(config.challenge).print()
    print(f"report: {write_report(config, record, root)}")
    record.check_blessed()
    pushed = record.pushed_to
    if pushed and is_url(push_to):
        pushed = _upload_version(pushed, push_to)
    print(f"pushed: {pushed}")
    return 0


def _upload_version(version: str, folder: str) -> str:
    """Upload a pushed version to a folder of versions, if it is not there; return its URL."""
    url = join(folder, basename(version))
    names = list_directory(url)
    if SAVED_MODEL_GRAPH not in names or UNFINISHED in names:
        upload_directory(version, url, last=SAVED_MODEL_GRAPH)
    return url


def _roots(args: argparse.Namespace) -> list[pathlib.Path]:
    """Return the roots of pipelines that have run, or the one that is named."""
    # A run that failed before its first component leaves no metadata.
    found = [
        folder
        for folder in (*sorted(ROOTS.glob("*")), DEMO_ROOT)
        if (folder / METADATA_FILE).is_file()
    ]
    roots = [pathlib.Path(args.root)] if args.root else found
    if not roots:
        raise InputError(
            f"no pipeline has run in {ROOTS}/* or {DEMO_ROOT}; name its root with --root DIR, the "
            f"folder with {METADATA_FILE}"
        )
    return roots


def _report(args: argparse.Namespace) -> int:
    import webbrowser

    root, *others = _roots(args)
    if others:
        names = ", ".join(map(str, (root, *others)))
        raise InputError(f"several pipelines have run; choose one with --root: {names}")
    page = root / REPORT
    if not page.is_file():
        raise InputError(f"{page}: not found; a run writes it after its evaluation")
    print(page)
    if not args.no_browser:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _status(args: argparse.Namespace) -> int:
    from pipeline.metadata import print_status, read_status

    for root in _roots(args):
        print(root)
        print_status(read_status(root / METADATA_FILE))
    return 0


def _compile(args: argparse.Namespace) -> int:
    from pipeline.config import load_pipeline

    config = load_pipeline(args.config, args.overrides)
    for option, url in (("--root", args.root), ("--push-to", args.push_to)):
        if url and is_url(url) and not url.startswith("gs://"):
            raise InputError(f"{option} {url}: TFX reads and writes only folders and gs://")

    from pipeline.runners.kubeflow import compile_kubeflow

    push_to = args.push_to or f"{args.root}/saved_models/{config.pipeline.name}"
    compile_kubeflow(config, args.root, push_to, args.image, args.output)
    print(f"written to {args.output}")
    return 0


def _predict(args: argparse.Namespace) -> int:
    from lxmert_tf.config_file import load_config
    from pipeline.ingest.config import IngestConfig

    data = load_config(IngestConfig, args.data)

    from pipeline.batch_prediction import predict

    count = predict(args.root, data, args.split, args.task, args.output)
    print(f"answers written to {args.output}: {count:,}")
    return 0
