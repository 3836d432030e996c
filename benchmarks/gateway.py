"""The gateway beside nginx as a reverse proxy, on loopback, in one run: ratios, not times.

Large bodies both ways over http and to a TLS upstream, small requests a second, and the first byte
of a stream beside a request that goes directly. Needs nginx and curl.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common import workplace

from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UPSTREAM = """
daemon off; pid {folder}/u.pid; error_log {folder}/u.err; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  types {{ application/json json; }} keepalive_requests 1000000;
  client_max_body_size 0; client_body_temp_path {folder}/u1; proxy_temp_path {folder}/u2;
  fastcgi_temp_path {folder}/u3; uwsgi_temp_path {folder}/u4; scgi_temp_path {folder}/u5;
  server {{ listen 127.0.0.1:{http} backlog=1024; root {folder}/files;
    location /small {{ return 200 "ok"; }} }}
  server {{ listen 127.0.0.1:{tls} ssl; root {folder}/files;
    ssl_certificate {server}; ssl_certificate_key {server}; }}
}}
"""
PROXY = """
daemon off; pid {folder}/p.pid; error_log {folder}/p.err; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 0;
  client_body_temp_path {folder}/p1; proxy_temp_path {folder}/p2;
  fastcgi_temp_path {folder}/p3; uwsgi_temp_path {folder}/p4; scgi_temp_path {folder}/p5;
  server {{ listen 127.0.0.1:{proxy_http}; location / {{ proxy_pass http://127.0.0.1:{http};
    proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
  server {{ listen 127.0.0.1:{proxy_tls}; location / {{ proxy_pass https://127.0.0.1:{tls};
    proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on; proxy_ssl_name localhost;
    proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""
GATEWAY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from brokerctl.effects.dial import Dialer
from brokerctl.session.serve.gateway import Gateway
from tests.gateway_room import FakeDesk, profile
profiles = [profile(name, hosts=(url,), ca_file=sys.argv[2] or None)
            for name, url in json.loads(sys.argv[3]).items()]
gateway = Gateway(FakeDesk(*profiles), profiles, Dialer({}).connect)
gateway.start()
print(json.dumps(gateway.variables()), flush=True)
sys.stdin.read()
gateway.close()
"""
EVENT_S = 0.05  # that an upstream thinks before the first byte of its stream


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in made]


@contextlib.contextmanager
def nginx(folder: Path, name: str, text: str, port: int) -> Iterator[None]:
    """Run one nginx in the foreground until the block ends."""
    path = folder / f"{name}.conf"
    path.write_text(text)
    process = subprocess.Popen(["nginx", "-c", str(path), "-p", str(folder)])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def megabytes_a_second(url: str, *options: str) -> float:
    """Return how quickly curl gets (or puts) a body."""
    words = ["curl", "-sf", "-o", "/dev/null", "-w", "%{speed_download} %{speed_upload}"]
    done = subprocess.run([*words, *options, url], check=True, capture_output=True, text=True)
    return max(map(float, done.stdout.split())) / 1e6


def ratio(name: str, ours: Callable[[], float], other: Callable[[], float], rounds: int) -> None:
    """Print the medians of both, measured in turn, and ours in parts of the other."""
    pairs = [(ours(), other()) for _ in range(rounds)]
    mine, its = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{name:<44} {mine:9.3f} / {its:9.3f} = {mine / its:5.2f}", flush=True)


def requests_a_second(url: str, seconds: float = 3.0, clients: int = 8) -> float:
    """Return how many small requests go through, by so many connections that are kept."""
    end = time.perf_counter() + seconds
    host, _, path = url.removeprefix("http://").partition("/")

    def run(_: int) -> int:
        connection = http.client.HTTPConnection(host)
        count = 0
        while time.perf_counter() < end:
            connection.request("GET", f"/{path}")
            connection.getresponse().read()
            count += 1
        connection.close()
        return count

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(run, range(clients))) / seconds


class Stream:
    """An upstream that thinks, and then sends one event after the other."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    @staticmethod
    def _serve(sock: socket.socket) -> None:
        with sock:
            sock.recv(1 << 16)
            time.sleep(EVENT_S)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
            sock.sendall(head + b"\r\ndata: 1\n\n")


def first_byte_s(url: str) -> float:
    """Return how long the first byte of a stream takes, connection included."""
    host, _, path = url.removeprefix("http://").partition("/")
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/{path}")
    connection.getresponse().read(1)
    connection.close()
    return time.perf_counter() - begun


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    ask = parser.parse_args()
    with workplace() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        (folder / "files").mkdir()
        with open(folder / "files" / "large", "wb") as file:
            file.writelines(os.urandom(1 << 20) for _ in range(ask.megabytes))
        with open(folder / "files" / "large.json", "wb") as file:
            file.write(b'{"a line of text": 1234567890},\n' * (ask.megabytes * (1 << 20) // 128))
        os.chmod(folder, 0o755)  # noqa: S103 - nginx's workers are another user
        tls = make_tls(str(folder))
        ports = dict(zip(("http", "tls", "proxy_http", "proxy_tls"), free_ports(4), strict=True))
        words = {"folder": folder, "ca": tls.ca_file, "server": tls.server_file, **ports}
        stack.enter_context(nginx(folder, "u", UPSTREAM.format(**words), ports["http"]))
        stack.enter_context(nginx(folder, "p", PROXY.format(**words), ports["proxy_http"]))
        stream = Stream()
        hosts = {
            "http": f"http://127.0.0.1:{ports['http']}",
            "tls": f"https://localhost:{ports['tls']}",
            "stream": stream.url,
        }
        root = str(Path(__file__).resolve().parent.parent)
        gateway = subprocess.Popen(
            [sys.executable, "-c", GATEWAY, root, tls.ca_file, json.dumps(hosts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert gateway.stdout is not None  # noqa: S101 - for mypy
        urls = json.loads(gateway.stdout.readline())
        try:
            measure(ask.rounds, urls, ports, stream.url)
        finally:
            gateway.communicate()


def measure(rounds: int, urls: dict[str, str], ports: dict[str, int], stream: str) -> None:
    """Print every figure."""
    name = "BROKERCTL_GATEWAY_"
    for kind in ("http", "tls"):
        ours, other = urls[name + kind.upper()], f"http://127.0.0.1:{ports[f'proxy_{kind}']}"
        for what in ("large", "large.json"):
            ratio(
                f"{kind} {what}, MB/s",
                partial(megabytes_a_second, f"{ours}/{what}"),
                partial(megabytes_a_second, f"{other}/{what}"),
                rounds,
            )
    ours, other = urls[name + "HTTP"], f"http://127.0.0.1:{ports['proxy_http']}"
    ratio(
        "small requests a second",
        lambda: requests_a_second(f"{ours}/small"),
        lambda: requests_a_second(f"{other}/small"),
        1,
    )
    ratio(
        "first byte of a stream, s, beside direct",
        lambda: first_byte_s(urls[name + "STREAM"] + "/x"),
        lambda: first_byte_s(stream + "/x"),
        rounds * 5,
    )


if __name__ == "__main__":
    main()
