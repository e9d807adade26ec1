"""Metrics of the server, in Prometheus's text format and with TensorFlow Serving's names.

TensorFlow Serving writes a slash in the name of a metric as a colon, and times in microseconds
(tensorflow_serving/servables/tensorflow/util.cc). Prometheus's Python client cannot write a counter
without the suffix `_total`, which these names do not have.
"""

import abc
import bisect
import threading
from collections.abc import Callable, Iterator

# The upper edges of a histogram of microseconds, up to about 20 minutes.
BUCKETS = tuple(10 * 1.8**power for power in range(33))
# TensorFlow Serving's path for Prometheus.
METRICS_PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# gRPC's names of HTTP statuses, which TensorFlow Serving counts requests by.
STATUS_NAMES = {
    200: "OK",
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    503: "UNAVAILABLE",
}
OTHER_STATUS = "INTERNAL"

Labels = tuple[str, ...]


class _Metric(abc.ABC):
    """A metric with a value for each combination of its labels' values.

    Args:
        name: Its name, with slashes as in TensorFlow Serving.
        text: What it measures.
        labels: Names of the labels.
    """

    kind: str

    def __init__(self, name: str, text: str, labels: Labels):
        self._name = name.replace("/", ":")
        self._text = text
        self._labels = labels
        # Values are added in the event loop and in the thread that loads models.
        self._lock = threading.Lock()

    def lines(self) -> Iterator[str]:
        """Yield the metric's lines."""
        yield f"# HELP {self._name} {self._text}"
        yield f"# TYPE {self._name} {self.kind}"
        with self._lock:
            yield from self._samples()

    @abc.abstractmethod
    def _samples(self) -> Iterator[str]:
        """Yield a line for each value."""

    def _sample(self, suffix: str, values: Labels, value: float, **more: str) -> str:
        pairs = [*zip(self._labels, values), *more.items()]
        labels = ",".join(f'{name}="{_escaped(text)}"' for name, text in pairs)
        return f"{self._name}{suffix}{{{labels}}} {value:.10g}"


class Counter(_Metric):
    """A number that only grows."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Labels):
        super().__init__(name, text, labels)
        self._values: dict[Labels, float] = {}

    def add(self, *values: str, amount: float = 1) -> None:
        """Add to the counter with these values of the labels."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + amount

    def _samples(self):
        for values, value in self._values.items():
            yield self._sample("", values, value)


class Histogram(_Metric):
    """A distribution of times, over `BUCKETS`."""

    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Labels):
        super().__init__(name, text, labels)
        # How many times are in each bucket, the last of which has no upper edge; and their sum.
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, *values: str, seconds: float) -> None:
        """Add a time to the histogram with these values of the labels."""
        time = 1e6 * seconds
        with self._lock:
            counts = self._counts.setdefault(values, [0] * (len(BUCKETS) + 1))
            counts[bisect.bisect_left(BUCKETS, time)] += 1
            self._sums[values] = self._sums.get(values, 0) + time

    def _samples(self):
        for values, counts in self._counts.items():
            total = 0
            for edge, count in zip((*BUCKETS, float("inf")), counts):
                total += count
                le = "+Inf" if edge == float("inf") else f"{edge:.10g}"
                yield self._sample("_bucket", values, total, le=le)
            yield self._sample("_sum", values, self._sums[values])
            yield self._sample("_count", values, total)


class Gauge(_Metric):
    """A number that is read when it is asked for.

    Args:
        name: Its name.
        text: What it measures.
        read: Returns the number.
    """

    kind = "gauge"

    def __init__(self, name: str, text: str, read: Callable[[], float]):
        super().__init__(name, text, ())
        self._read = read

    def _samples(self):
        yield f"{self._name} {self._read():.10g}"


class ServerMetrics:
    """What the server counts and measures; see docs/serving.md for the list."""

    def __init__(self) -> None:
        self.requests = Counter(
            "/tensorflow/serving/request_count", "Requests to predict.", ("model_name", "status")
        )
        self.request_latency = Histogram(
            "/tensorflow/serving/request_latency",
            "Time of requests to predict that were answered, in microseconds.",
            ("model_name", "API", "entrypoint"),
        )
        self.runtime_latency = Histogram(
            "/tensorflow/serving/runtime_latency",
            "Time of calls of the model, in microseconds.",
            ("model_name", "API"),
        )
        self.loads = Counter(
            "/tensorflow/cc/saved_model/load_attempt_count",
            "Attempts to load a version.",
            ("model_path", "status"),
        )
        self.load_latency = Counter(
            "/tensorflow/cc/saved_model/load_latency",
            "Time of loading versions and warming them up, in microseconds.",
            ("model_path",),
        )
        self._metrics: list[_Metric] = [
            self.requests,
            self.request_latency,
            self.runtime_latency,
            self.loads,
            self.load_latency,
        ]

    def add_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a number that `read` returns when it is asked for."""
        self._metrics.append(Gauge(name, text, read))

    def record_predict(self, model: str, status: int, seconds: float) -> None:
        """Count a request to predict, and its time if it was answered.

        Args:
            model: Name of the model.
            status: HTTP status of the response.
            seconds: From the request's arrival to the response.
        """
        self.requests.add(model, STATUS_NAMES.get(status, OTHER_STATUS))
        if status == 200:
            self.request_latency.observe(model, "predict", "REST", seconds=seconds)

    def record_load(self, path: str, succeeded: bool, seconds: float) -> None:
        """Count an attempt to load a version, and its time.

        Args:
            path: Of the version.
            succeeded: Whether it is served.
            seconds: How long it took.
        """
        self.loads.add(path, "success" if succeeded else "fail")
        self.load_latency.add(path, amount=1e6 * seconds)

    def page(self) -> str:
        """Return all metrics as text."""
        return "".join(f"{line}\n" for metric in self._metrics for line in metric.lines())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
