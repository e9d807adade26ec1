"""OpenVINO, imported without its telemetry."""

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Return the package openvino (extra `openvino`).

    It reports its import over the network if its telemetry is installed, as it is by default. A
    module that is None cannot be imported, and OpenVINO then does without.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
