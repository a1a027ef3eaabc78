"""The proxies that are compared, each with one worker, in front of the same two web servers."""

import os
import pathlib
import shutil
import socket
import subprocess
import time


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
    raise TimeoutError(f"nothing listens on port {port}")


class Bench:
    def __init__(self, micro, echo, directory):
        self.micro, self.echo, self.dir = os.path.abspath(micro), echo, pathlib.Path(directory)
        self.children, self.proxies = [], {}
        self.http, self.h2c = free_port(), free_port()

    def start(self, *command, **options):
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(command, **{**silent, **options})
        self.children.append(child)
        return child

    def nginx(self, name, text):
        place = self.dir / name
        (place / "logs").mkdir(parents=True)
        temporary = "".join(f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (place / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; pid {place}/pid; error_log /dev/null; events {{ worker_connections 16384; }}"
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
        if self.echo:
            # It ends with its input, which ends with this program.
            server = self.start(self.echo, "echo-server", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.h2c = int(server.stdout.readline().rsplit(b":", 1)[1])

    def add(self, name, process, http1, grpc):
        for port in {http1, grpc}:
            wait_for(port)
        self.proxies[name] = (process, http1, grpc)

    def add_micro(self):
        registry, port = f"file:{self.dir}/registry", free_port()
        for name, at in (("foo", self.http), ("echo", self.h2c)):
            subprocess.run([self.micro, "register", name, "--address", f"127.0.0.1:{at}", "--ttl", "0", "--registry", registry],
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
            "global\n no strict-limits\n nbthread 1\n maxconn 12000\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
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


