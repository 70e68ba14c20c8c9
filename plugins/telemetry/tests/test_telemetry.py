"""The hook `telemetry` against OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from strongroom import BaseProvider, Lease, SecretHook, SecretProviderRegistry, TenantContext
from strongroom.aio import AsyncSecretRegistry
from strongroom.errors import (
    AuditError,
    InvalidKeyError,
    PermissionDeniedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom_memory import MemorySecretProvider
from strongroom_telemetry import TelemetryHook

KEY, VALUE = "database/password", "correct horse battery"
CACHED = {
    "version": 1,
    "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}]}},
}
PLAIN = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}


class Seen:
    """What came out of the SDK."""

    def __init__(self) -> None:
        self.reader, self.exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self.meters = MeterProvider([self.reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def hook(self, **options) -> TelemetryHook:
        return TelemetryHook(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def spans(self):
        return [(span.name, dict(span.attributes)) for span in self.exporter.get_finished_spans()]

    def metrics(self):
        """Return each metric's numbers by its labels: the count of a histogram, the value of all others."""
        data = self.reader.get_metrics_data()
        found = [
            one for part in data.resource_metrics for scope in part.scope_metrics for one in scope.metrics
        ]
        return {
            one.name.removeprefix("strongroom."): {
                tuple(sorted(point.attributes.items())): getattr(
                    point, "count", getattr(point, "value", None)
                )
                for point in one.data.data_points
            }
            for one in found
        }


@pytest.fixture
def seen():
    found = Seen()
    yield found
    found.meters.shutdown()
    found.tracers.shutdown()


@pytest.fixture
def registry(seen):
    with SecretProviderRegistry(CACHED) as made:
        made.add_hook(seen.hook())
        yield made


def labels(**named):
    return tuple(sorted(named.items()))


def test_each_operation_has_a_span_and_a_duration(seen, registry):
    registry.set_secret(KEY, VALUE)
    registry.get_secret(KEY)
    registry.get_secret(KEY)
    with pytest.raises(SecretNotFoundError):
        registry.get_secret("absent")
    base = {"pipeline": "app"}
    assert seen.spans() == [
        ("strongroom set", {**base, "operation": "set", "outcome": "ok"}),
        ("strongroom get", {**base, "operation": "get", "outcome": "ok", "source": "backend"}),
        ("strongroom get", {**base, "operation": "get", "outcome": "ok", "source": "l1"}),
        (
            "strongroom get",
            {
                **base,
                "operation": "get",
                "outcome": "not_found",
                "source": "backend",
                "error.type": "SecretNotFoundError",
            },
        ),
    ]
    assert seen.metrics()["operation.duration"] == {
        labels(pipeline="app", operation="set", outcome="ok"): 1,
        labels(pipeline="app", operation="get", outcome="ok", source="backend"): 1,
        labels(pipeline="app", operation="get", outcome="ok", source="l1"): 1,
        labels(pipeline="app", operation="get", outcome="not_found", source="backend"): 1,
    }
    [duration] = [one for one in _all(seen) if one.name.endswith("duration")]
    assert duration.unit == "s"
    assert all(point.sum < 10 for point in duration.data.data_points)


def _all(seen):
    data = seen.reader.get_metrics_data()
    return [one for part in data.resource_metrics for scope in part.scope_metrics for one in scope.metrics]


def test_a_batch_has_a_span_for_each_key_side_by_side(seen, registry):
    registry.set_secrets({"a": "1", "b": "2"})
    seen.exporter.clear()
    registry.get_secrets(["a", "b", "absent"])
    spans = seen.exporter.get_finished_spans()
    assert [span.attributes["outcome"] for span in spans] == ["ok", "ok", "not_found"]
    assert {span.parent for span in spans} == {None}


def test_what_a_backend_does_stands_below_the_operation(seen):
    class Traced:
        def get_secret(self, key):
            with seen.tracers.get_tracer("client").start_as_current_span("request"):
                return VALUE

        set_secret = delete_secret = list_secrets = get_secret

    with SecretProviderRegistry(PLAIN) as registry:
        registry.register("other", Traced(), prefix="other/")
        registry.add_hook(seen.hook())
        with seen.tracers.get_tracer("application").start_as_current_span("request of a user") as outer:
            registry.get_secret("other/a")
            assert trace.get_current_span() is outer
    inner, operation, whole = seen.exporter.get_finished_spans()
    assert (inner.name, operation.name) == ("request", "strongroom get")
    assert inner.parent.span_id == operation.context.span_id
    assert operation.parent.span_id == whole.context.span_id


def test_refused_operations_are_seen_and_marked(seen, registry):
    class Refuses(SecretHook):
        def before(self, event):
            raise PermissionDeniedError("not today")

    registry.add_hook(Refuses())
    with pytest.raises(PermissionDeniedError):
        registry.get_secret(KEY)
    [span] = seen.exporter.get_finished_spans()
    assert (span.attributes["outcome"], span.status.status_code) == ("vetoed", StatusCode.ERROR)
    assert not span.events
    assert span.status.description is None


def test_neither_key_nor_value_nor_tenant_leaves_the_process(seen):
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [{"type": "tenant"}]}},
    }
    with SecretProviderRegistry(spec) as registry, TenantContext("acme"):
        registry.add_hook(seen.hook(keys="hashed", hash_key="0123456789abcdef"))
        registry.set_secret(KEY, VALUE)
        registry.get_secret(KEY)
        registry.list_secrets("database/")
    everything = "".join(span.to_json() for span in seen.exporter.get_finished_spans())
    everything += seen.reader.get_metrics_data().to_json()
    for text in (KEY, VALUE, "acme", "database"):
        assert text not in everything


def test_hashed_keys_are_the_same_in_processes_with_one_hash_key(seen):
    found = []
    for hash_key in ("0123456789abcdef", "0123456789abcdef", None, None):
        with SecretProviderRegistry(PLAIN) as registry:
            registry.add_hook(seen.hook(keys="hashed", hash_key=hash_key))
            registry.set_secret(KEY, VALUE)
            found.append(seen.exporter.get_finished_spans()[-1].attributes["key"])
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert all(
        labelled == () or "key" not in dict(labelled) for labelled in seen.metrics()["operation.duration"]
    )


def test_caches_are_counted(seen, registry):
    registry.set_secret(KEY, VALUE)
    registry.get_secret(KEY)
    registry.get_secret(KEY)
    found = seen.metrics()
    assert found["cache.entries"] == {labels(pipeline="app"): 1}
    assert found["cache.requests"][labels(pipeline="app", result="miss")] == 1
    assert found["cache.requests"][labels(pipeline="app", result="hit")] == 1


def test_what_the_audit_trail_could_not_take_is_counted(seen, tmp_path):
    log = tmp_path / "log"
    spec = {**PLAIN, "hooks": [{"type": "audit", "path": str(log / "audit.jsonl"), "key": "k" * 32}]}
    with SecretProviderRegistry(spec) as registry:
        registry.add_hook(seen.hook())
        assert seen.metrics()["audit.failures"] == {(): 0}
        for _ in range(2):
            with pytest.raises(AuditError):
                registry.set_secret(KEY, VALUE)
        with pytest.raises(AuditError):
            registry.get_secret("absent")
        assert seen.metrics()["audit.failures"] == {(): 3}
        log.mkdir()
        registry.set_secret(KEY, VALUE)
        assert seen.metrics()["audit.failures"] == {(): 3}


def test_due_rotations_are_counted_once_in_a_while(seen):
    now, age = [0.0], [timedelta(days=2)]
    provider = MemorySecretProvider(clock=lambda: datetime.now(UTC) - age[0])
    secrets = {name: {"key": f"old/{name}", "rotate_days": 1, "required": False} for name in ("A", "B")}
    with SecretProviderRegistry({**PLAIN, "secrets": secrets}) as registry:
        registry.register("old", provider, prefix="old/")
        registry.add_hook(seen.hook(due_seconds=60, clock=lambda: now[0]))
        registry.set_secret("old/A", "1")
        assert seen.metrics()["rotation.due"] == {labels(pipeline="old"): 1}
        age[0] = timedelta(0)
        registry.set_secret("old/A", "2")
        now[0] = 59.0
        assert seen.metrics()["rotation.due"] == {labels(pipeline="old"): 1}
        now[0] = 61.0
        assert seen.metrics()["rotation.due"] == {labels(pipeline="old"): 0}
        assert [name for name, _ in seen.spans()] == ["strongroom set"] * 2  # a count is not an operation


def test_a_backend_that_fails_leaves_the_other_counts_of_due_rotations(seen, caplog):
    class Failing(MemorySecretProvider):
        def describe_secret(self, key):
            raise KeyError(VALUE)

    old = MemorySecretProvider(secrets={"old/A": "1"}, clock=lambda: datetime.now(UTC) - timedelta(days=2))
    secrets = {name: {"key": f"{name}/A", "rotate_days": 1, "required": False} for name in ("bad", "old")}
    with SecretProviderRegistry({**PLAIN, "secrets": secrets}) as registry:
        registry.register("bad", Failing(secrets={"bad/A": "1"}), prefix="bad/")
        registry.register("old", old, prefix="old/")
        registry.add_hook(seen.hook())
        registry.get_secret("old/A")
        assert seen.metrics()["rotation.due"] == {labels(pipeline="old"): 1}
    assert VALUE not in caplog.text


def test_the_end_of_the_first_lease_is_a_gauge(seen):
    class Issues(BaseProvider):
        type_name = "issues"

        def issue_lease(self, key):
            now = datetime.now(UTC)
            return Lease(key, key, {"user": "ann"}, now, now + timedelta(hours=int(key[-1])), renewable=False)

        def renew_lease(self, lease):
            raise AssertionError(lease.id)

        def revoke_lease(self, lease):
            """It ends by itself."""

        def get_secret(self, key):
            raise UnsupportedOperationError("read by lease")

        set_secret = delete_secret = list_secrets = get_secret

    with SecretProviderRegistry(PLAIN) as registry:
        registry.register("leased", Issues(), prefix="leased/")
        registry.add_hook(seen.hook())
        assert seen.metrics().get("lease.seconds_left", {}) == {}
        for key in ("2", "1"):
            registry.lease(f"leased/{key}").close()
        [left] = seen.metrics()["lease.seconds_left"].values()
        assert 3000 < left <= 3600


def test_telemetry_that_fails_stops_nothing(seen, registry, caplog):
    class Broken(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise RuntimeError(VALUE)

    seen.tracers.add_span_processor(Broken())
    registry.set_secret(KEY, VALUE)
    assert registry.get_secret(KEY) == VALUE
    assert "RuntimeError" in caplog.text
    assert VALUE not in caplog.text


def test_where_the_end_of_a_span_fails_the_rest_of_a_batch_is_noted(seen, registry, caplog):
    class Broken(SpanProcessor):
        def on_end(self, span):
            raise RuntimeError(VALUE)

    hook = seen.hook()
    registry.add_hook(hook)
    registry.set_secrets({f"a/{number}": VALUE for number in range(3)})
    before = seen.metrics()["operation.duration"][labels(pipeline="app", operation="set", outcome="ok")]
    seen.tracers.add_span_processor(Broken())
    registry.set_secrets({f"a/{number}": VALUE for number in range(3)})
    after = seen.metrics()["operation.duration"][labels(pipeline="app", operation="set", outcome="ok")]
    assert (before, after) == (6, 12)  # by two hooks
    assert len(seen.spans()) == 12
    assert not hook._open
    assert caplog.text.count("RuntimeError") == 2
    assert VALUE not in caplog.text


def test_where_a_duration_cannot_be_noted_its_span_ends_and_is_no_longer_current(seen, registry, monkeypatch):
    def fail(*_):
        raise RuntimeError(VALUE)

    hook = seen.hook()
    registry.add_hook(hook)
    with monkeypatch.context() as patched:
        patched.setattr(type(hook._instruments.duration), "record", fail)
        registry.set_secret(KEY, VALUE)
    assert not trace.get_current_span().get_span_context().is_valid
    assert not hook._open
    assert len(seen.spans()) == 2


def test_a_closed_registry_is_not_asked_any_more(seen):
    """A server that reads its spec again closes the one before, which may stay in memory for a while."""

    class Counting(MemorySecretProvider):
        asked = 0

        def describe_secret(self, key):
            self.asked += 1
            return super().describe_secret(key)

    provider = Counting(secrets={KEY: VALUE})
    spec = {**CACHED, "secrets": {"PASSWORD": {"key": KEY, "rotate_days": 1}}}
    now = [0.0]
    hook = seen.hook(clock=lambda: now[0])
    with SecretProviderRegistry(spec) as registry:
        registry.register("counted", provider, prefix="database/")
        registry.add_hook(hook)
        assert seen.metrics()["rotation.due"] == {labels(pipeline="counted"): 0}
        asked = provider.asked
    now[0] += 1000.0
    assert seen.metrics().get("rotation.due", {}) == {}
    assert provider.asked == asked
    registry.close()


def test_a_closed_registry_that_is_used_again_does_not_count_twice(seen):
    """A hook of a spec meets it again with each pipeline that is used for the first time."""
    registry, hook = SecretProviderRegistry(CACHED), seen.hook()
    registry.add_hook(hook)
    registry.set_secret(KEY, VALUE)
    registry.get_secret(KEY)
    hook.registry_closing(registry)
    before = seen.metrics()["cache.requests"]
    hook.registry_opened(registry)
    assert seen.metrics()["cache.requests"] == before
    registry.close()


def test_several_registries_share_the_instruments(seen, caplog):
    for _ in range(2):
        with SecretProviderRegistry(CACHED) as registry:
            registry.add_hook(seen.hook())
            registry.set_secret(KEY, VALUE)
            registry.get_secret(KEY)
            found = seen.metrics()["cache.entries"]
    assert "already" not in caplog.text
    assert set(found) == {labels(pipeline="app")}
    del registry
    gc.collect()
    assert seen.metrics().get("cache.entries", {}) == {}


def test_counters_outlive_their_registries(seen):
    def used(*hooks) -> None:
        with SecretProviderRegistry(CACHED) as registry:
            for hook in hooks:
                registry.add_hook(hook)
            registry.set_secret(KEY, VALUE)
            registry.get_secret(KEY)
            registry.get_secret(KEY)
            counts.append(seen.metrics()["cache.requests"][labels(pipeline="app", result="hit")])
            registry.get_secret(KEY)  # after the last collection

    counts: list[int] = []
    hook = seen.hook()
    used(hook)
    gc.collect()
    used(seen.hook())  # a hook of its own
    gc.collect()
    used(hook, seen.hook())  # two of one registry count it once
    gc.collect()
    found = seen.metrics()
    assert counts == [1, 3, 5]
    assert found["cache.requests"][labels(pipeline="app", result="hit")] == 6
    assert "cache.entries" not in found or not found["cache.entries"]


def test_caches_of_members_and_of_stripped_routes_are_counted(seen):
    cached = {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}]}
    spec = {
        "version": 1,
        "pipelines": {"one": cached, "two": cached, "both": {"fallback": {"pipelines": ["one", "two"]}}},
        "default": "both",
        "routes": [{"prefix": "dev/", "pipeline": "two", "strip_prefix": True}],
    }
    with SecretProviderRegistry(spec) as registry:
        registry.add_hook(seen.hook())
        for key in (KEY, f"dev/{KEY}"):
            registry.set_secret(key, VALUE)
            registry.get_secret(key)
            registry.get_secret(key)
        found = seen.metrics()["cache.requests"]
    assert found[labels(pipeline="one", result="hit")] == 1
    assert found[labels(pipeline="two", result="hit")] == 1


def test_a_hook_of_a_fallbacks_member_counts_too(tmp_path):
    program = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from strongroom import SecretProviderRegistry
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
cached = {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}], "hooks": [{"type": "telemetry"}]}
spec = {"version": 1, "default": "both",
        "pipelines": {"one": cached, "two": cached, "both": {"fallback": {"pipelines": ["one", "two"]}}}}
with SecretProviderRegistry(spec) as registry:
    registry.set_secret("a", "1"), registry.get_secret("a"), registry.get_secret("a")
    [scope] = reader.get_metrics_data().resource_metrics[0].scope_metrics
    [entries] = [one for one in scope.metrics if one.name == "strongroom.cache.entries"]
    print(sorted((point.attributes["pipeline"], point.value) for point in entries.data.data_points))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert (run.stdout.strip(), run.stderr) == ("[('one', 1), ('two', 0)]", "")


@pytest.mark.parametrize("key", ["half \udc80 a character", 5, None, "../up", ""])
def test_keys_that_are_refused_have_a_span_too(seen, caplog, key):
    with SecretProviderRegistry(PLAIN) as registry:
        registry.add_hook(seen.hook(keys="hashed", hash_key="0123456789abcdef"))
        with pytest.raises((InvalidKeyError, TypeError)):
            registry.get_secret(key)
    [(name, attributes)] = seen.spans()
    assert (name, attributes["outcome"]) == ("strongroom get", "error")
    assert not caplog.text


def test_what_is_due_by_default_or_twice_declared_is_as_rotate_due_has_it(seen):
    provider = MemorySecretProvider(clock=lambda: datetime.now(UTC) - timedelta(days=40))
    secrets = {
        "A": {"key": "old/A", "rotate": {}},
        "B": {"key": "old/B", "rotate_days": 60},
        "C": {"key": "old/B", "rotate_days": 1},  # the first of a key counts
        "D": {"key": "old/D", "rotate_days": 20},
        "E": {"key": "old/E"},
    }
    with SecretProviderRegistry({**PLAIN, "secrets": secrets}) as registry:
        registry.register("old", provider, prefix="old/")
        registry.add_hook(seen.hook())
        for name in "ABDE":
            registry.set_secret(f"old/{name}", "1")
        assert seen.metrics()["rotation.due"] == {labels(pipeline="old"): 2}


def test_asyncio_threads_and_forks_have_spans_of_their_own(seen, registry):
    registry.set_secret(KEY, VALUE)
    seen.exporter.clear()

    async def read():
        registry_ = AsyncSecretRegistry(registry)
        return await asyncio.gather(*(registry_.get_secret(KEY) for _ in range(5)))

    assert asyncio.run(read()) == [VALUE] * 5
    threads = [threading.Thread(target=registry.get_secret, args=(KEY,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen.spans()) == 10
    assert {span.parent for span in seen.exporter.get_finished_spans()} == {None}
    assert sum(seen.metrics()["operation.duration"].values()) == 11


def test_the_providers_of_the_process_are_found_also_when_set_later():
    """In a process of its own, for they can be set once; a child forked afterwards goes on by itself."""
    code = f"""
import os
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from strongroom import SecretProviderRegistry
spec = {{**{CACHED!r}, "hooks": [{{"type": "telemetry"}}]}}
early = SecretProviderRegistry(spec)
reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
metrics.set_meter_provider(MeterProvider([reader]))
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(tracers)
late = SecretProviderRegistry(spec)
for registry in (early, late):
    registry.set_secret("a", "1")
    registry.get_secret("a")
data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
named = {{one.name: [getattr(p, "count", getattr(p, "value", None)) for p in one.data.data_points] for one in data if one.data.data_points}}
assert named["strongroom.cache.entries"] == [2], named
assert named["strongroom.operation.duration"] == [2, 2], named
assert len(exporter.get_finished_spans()) == 4
child = os.fork()
if not child:
    late.get_secret("a")
    os._exit(len(exporter.get_finished_spans()) - 5)
assert os.waitpid(child, 0)[1] == 0
print("ok")
"""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "STRONGROOM_"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_a_collector_gets_all_of_it():
    """OTLP over HTTP, to a receiver of the test."""
    got = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            kind = ExportTraceServiceRequest if self.path.endswith("traces") else ExportMetricsServiceRequest
            got.append(kind.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        exporter = OTLPMetricExporter(f"{url}/metrics")
        meters = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)])
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/traces")))
        try:
            with SecretProviderRegistry(CACHED) as registry:
                registry.add_hook(TelemetryHook(tracer_provider=tracers, meter_provider=meters))
                registry.set_secret(KEY, VALUE)
                registry.get_secret(KEY)
                meters.force_flush()
        finally:
            meters.shutdown()
            tracers.shutdown()
            server.shutdown()
            thread.join()
    spans = [
        span.name
        for request in got
        if isinstance(request, ExportTraceServiceRequest)
        for part in request.resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    ]
    assert spans == ["strongroom set", "strongroom get"]
    metrics = {
        metric.name
        for request in got
        if isinstance(request, ExportMetricsServiceRequest)
        for part in request.resource_metrics
        for scope in part.scope_metrics
        for metric in scope.metrics
    }
    assert {
        "strongroom.operation.duration",
        "strongroom.cache.entries",
        "strongroom.cache.requests",
    } <= metrics
    assert VALUE.encode() not in b"".join(request.SerializeToString() for request in got)
