#!/usr/bin/env bash
# opentelemetry-exporter-otlp-proto-http 1.45.2 and @opentelemetry/exporter-trace-otlp-http 0.223.1: one API key in
# OTEL_EXPORTER_OTLP_HEADERS, two keys at the collector.
# Seen: of `api-key=50%off` Python sends 50%off, and Node no key. Of `api-key=hush;4821` Node sends hush, and Python no key, and writes the whole
# line with the key into its log as a warning. A quote or a backslash is the same for Python, and Node sends it. Both
# exporters send the spans all the same and report no error of their own. Percent-encoded, the three arrive whole from both.
# Guess: one line of the specification's variable gives one header. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check opentelemetry-exporter-otlp-proto-http==1.45.2 opentelemetry-sdk==1.45.2
npm install --silent --no-fund --no-audit @opentelemetry/exporter-trace-otlp-http@0.223.1 @opentelemetry/sdk-trace-base@2.12.1 @opentelemetry/api@1.9.1
cat >send.py <<'END'
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
provider.get_tracer("see").start_span("work").end()
provider.shutdown()
END
cat >send.mjs <<'END'
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter())] });
provider.getTracer("see").startSpan("work").end();
await provider.shutdown();
END
cat >see.py <<'END'
import http.server
import os
import subprocess
import threading

arrived = []


class Collector(http.server.BaseHTTPRequestHandler):
    """Note the key of each export, and take the spans."""

    def do_POST(self):
        if length := self.headers["Content-Length"]:
            self.rfile.read(int(length))
        else:
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        arrived.append(self.headers.get("api-key"))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words):
        pass


collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=collector.serve_forever, daemon=True).start()
clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
clean["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"


def sent(key, *words):
    """The key that arrives where it is written into the variable as it is, and what the program says."""
    arrived.clear()
    environment = clean | {"OTEL_EXPORTER_OTLP_HEADERS": f"api-key={key}"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert len(arrived) == 1
    return arrived[0], done.stdout + done.stderr


def see(key):
    by_python, said = sent(key, "venv/bin/python", "send.py")
    by_node, silence = sent(key, "node", "send.mjs")
    print(f"{key}: Python sends {by_python!r} and says {said.strip()!r}; Node sends {by_node!r}")
    assert silence == ""
    return by_python, by_node, key in said


assert see("hush") == ("hush", "hush", False)
assert see("50%off") == ("50%off", None, False)
assert see("hush;4821") == (None, "hush", True)
assert see('hu"sh') == (None, 'hu"sh', True)
assert see("hu\\sh") == (None, "hu\\sh", True)
assert see("50%25off") == ("50%off", "50%off", False)
assert see("hush%3B4821") == ("hush;4821", "hush;4821", False)
assert see("hu%22sh") == ('hu"sh', 'hu"sh', False)
collector.shutdown()
END
venv/bin/python see.py
