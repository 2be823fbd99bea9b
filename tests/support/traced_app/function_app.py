"""The app, with an SDK of OpenTelemetry that writes spans and metrics to the folder ``TRACES``."""

import importlib.util
import os
import sys
from pathlib import Path

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

_ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(_ROOT))

_folder = Path(os.environ["TRACES"])
_folder.mkdir(parents=True, exist_ok=True)
_spans = (_folder / "spans.jsonl").open("a", buffering=1)
_metrics = (_folder / "metrics.jsonl").open("a", buffering=1)

_provider = TracerProvider()
_exporter = ConsoleSpanExporter(
    out=_spans, formatter=lambda span: span.to_json(indent=None) + os.linesep
)
_provider.add_span_processor(SimpleSpanProcessor(_exporter))
trace.set_tracer_provider(_provider)
_reader = PeriodicExportingMetricReader(
    ConsoleMetricExporter(
        out=_metrics, formatter=lambda data: data.to_json(indent=None) + os.linesep
    ),
    export_interval_millis=500,
)
metrics.set_meter_provider(MeterProvider([_reader]))

_found = importlib.util.spec_from_file_location("the_app", _ROOT / "function_app.py")
assert _found is not None
assert _found.loader is not None
_module = importlib.util.module_from_spec(_found)
_found.loader.exec_module(_module)
app = _module.app
