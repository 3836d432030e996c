"""The way to the network: the one module that imports an HTTP client.

Nothing of the environment counts but what is read here: no .netrc, no key log file, no proxy for
loopback. One deadline covers everything, because the client's own time-outs are per read and a
server that drips a byte a second would never meet them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import anyio
import httpx2

from brokerctl.config.hosts import find_metadata_url, is_loopback, parse_url
from brokerctl.effects.proxies import find_proxy
from brokerctl.errors import IssuerError, UnsentError, UsageError
from brokerctl.platform.system import take_no_signal
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from brokerctl.config.hosts import Url
    from brokerctl.oauth.message import HttpRequest, HttpResponse

CONNECT_S = 5.0
MAX_BODY = 1 << 20
MAX_HEADERS = 200
_CA_FILES = (  # where OpenSSL was built for another distribution than this one
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
_CUT = (ConnectionResetError, BrokenPipeError, anyio.EndOfStream, ssl.SSLEOFError)
_PACKED = ("gzip", "x-gzip", "deflate")
_CODINGS = ("", "identity", *_PACKED)
_LOOPBACK = ("127.0.0.1", "[::1]")


class Http:
    """Sends requests of one profile; `ca_file` replaces the system's certificates."""

    def __init__(
        self,
        ca_file: str | None = None,
        environ: Mapping[str, str] | None = None,
        timeout_s: float = 20.0,
        clock: Callable[[], float] = work_time,
    ) -> None:
        """`clock` is the one that deadlines are of; all that waits for the network goes by it."""
        self._environ = {} if environ is None else environ
        self._ca_file = ca_file or self._environ.get("SSL_CERT_FILE") or None
        self._timeout_s = timeout_s
        self._clock = clock
        self._tls: ssl.SSLContext | None = None

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Return the answer, whatever its status; redirects are answers and not followed.

        `deadline` is of the work clock. Raises IssuerError, which names the host only:
        request.broke(…) where the connection broke, so that one more try is worth it.
        """
        url = self._checked(request)
        end = self._clock() + self._timeout_s if deadline is None else deadline
        left = end - self._clock()
        if left <= 0:
            raise IssuerError(f"no time is left to ask {url.host}")
        answers: list[HttpResponse] = []
        coming = _Coming(request)

        async def send() -> None:
            answers.append(await self._send(coming, url, left))

        try:
            anyio.run(send, backend_options={"loop_factory": partial(_Loop, self._clock)})
        except TimeoutError:
            raise request.cut(f"{url.host} did not answer in time", coming.part()) from None
        except (OSError, RuntimeError, MemoryError) as error:  # no descriptor, thread or memory
            # The loop starts a thread to end itself: with none to be had, what the issuer has
            # answered by then, a rotated refresh token for one, must not be lost.
            if not answers:
                why = str(error).lower() or "no memory is left"
                raise IssuerError(f"{url.host} can't be asked: {why}") from error
        return answers[0]

    @staticmethod
    def _checked(request: HttpRequest) -> Url:
        link_local = find_metadata_url(request.url)
        # Security: in the clear goes a question, and nothing that is secret.
        if link_local is not None and request.body is None and not _has_secret(request):
            return link_local
        try:
            return parse_url(request.url)
        except UsageError as error:
            raise IssuerError("nothing is sent to an address that is not https") from error

    async def _send(self, coming: _Coming, url: Url, left: float) -> HttpResponse:
        asyncio.get_running_loop().set_default_executor(_DaemonThreads())
        with anyio.fail_after(left):
            if url.host == "localhost":
                return await self._send_to_loopback(coming, url)
            return await self._exchange(coming, url, url.host)

    async def _send_to_loopback(self, coming: _Coming, url: Url) -> HttpResponse:
        """Send to 127.0.0.1, or to [::1] where nothing listens there: no resolver is asked."""
        try:
            return await self._exchange(coming, url, _LOOPBACK[0])
        except _NoConnectionError:
            return await self._exchange(coming, url, _LOOPBACK[1])

    async def _exchange(self, coming: _Coming, url: Url, host: str) -> HttpResponse:
        request = coming.request
        is_near = is_loopback(url.host) or url.scheme == "http"
        proxy = None if is_near else find_proxy(url, self._environ)
        coming.sent_at = time.time()
        try:
            async with (
                httpx2.AsyncClient(
                    verify=self._context(url, proxy),
                    trust_env=False,
                    follow_redirects=False,
                    proxy=self._proxy(proxy),
                    timeout=httpx2.Timeout(None, connect=CONNECT_S),
                ) as client,
                client.stream(
                    request.method,
                    f"{url.scheme}://{host}:{url.port}{_target(url)}",
                    headers=_headers(request, url),
                    content=request.body.reveal().encode() if request.body else None,
                    extensions={"sni_hostname": url.host} if host != url.host else None,
                ) as response,
            ):
                await coming.read(response, url.host)
        except httpx2.ConnectTimeout as error:
            raise UnsentError(f"{_way(url, proxy)} can't be reached in time") from error
        except httpx2.ConnectError as error:
            raise _refused(error, request, _way(url, proxy)) from error
        except httpx2.ProxyError as error:
            raise IssuerError(f"the proxy does not lead to {url.host}") from error
        except httpx2.TimeoutException as error:
            raise request.cut(f"{url.host} did not answer in time", coming.part()) from error
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            raise request.broke(f"the connection to {url.host} broke", coming.part()) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise IssuerError(f"{url.host} can't be talked to over HTTP") from error
        return coming.answer()

    def _proxy(self, proxy: str | None) -> httpx2.Proxy | None:
        if proxy is None:
            return None
        # Security: without a context of ours the client would make one that honours SSLKEYLOGFILE.
        tls = make_context(self._ca_file) if proxy.startswith("https://") else None
        return httpx2.Proxy(proxy, ssl_context=tls)

    def _context(self, url: Url, proxy: str | None) -> ssl.SSLContext:
        if url.scheme == "http" and proxy is None:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; reading none is quick
        if self._tls is None:
            self._tls = make_context(self._ca_file)
        return self._tls


def make_context(ca_file: str | None) -> ssl.SSLContext:
    """Return TLS settings: 1.2 or newer, names checked, no key log (SSLKEYLOGFILE is not read)."""
    # Security: ssl.create_default_context honours SSLKEYLOGFILE and writes session keys to disk.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_file is not None:
            context.load_verify_locations(cafile=os.path.expanduser(ca_file))
            return context
        context.set_default_verify_paths()
        paths = ssl.get_default_verify_paths()
        if paths.cafile is None and paths.capath is None:
            found = next(filter(os.path.isfile, _CA_FILES), None)
            context.load_verify_locations(cafile=found) if found else None
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"no certificates can be read from {ca_file}") from error
    return context


class _NoConnectionError(UnsentError):
    """Nobody listens there."""


def _refused(error: httpx2.ConnectError, request: HttpRequest, host: str) -> IssuerError:
    """Return the error of a connection that could not be made."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UnsentError(
                f"the certificate of {host} is not valid: {cause.verify_message}",
                hint="set ca_file in the profile, or SSL_CERT_FILE, if the CA is your own",
            )
        if isinstance(cause, _CUT):
            return request.broke(f"the connection to {host} broke")
        if isinstance(cause, ssl.SSLError):
            return IssuerError(f"{host} does not speak TLS 1.2 or newer")
    return _NoConnectionError(f"{host} can't be reached{_why(error)}")


def _why(error: httpx2.ConnectError) -> str:
    """Return the system's reason after a colon; "" where it gives none of use."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            named = isinstance(cause, socket.gaierror)
            return f": {'its name is not known' if named else os.strerror(cause.errno).lower()}"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; such a chain can be a ring."""
    cause: BaseException | None = error
    met: set[int] = set()
    while cause is not None and id(cause) not in met:
        met.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _way(url: Url, proxy: str | None) -> str:
    host = url.origin.partition("://")[2]
    return host if proxy is None else f"{host} (through the proxy)"


def _target(url: Url) -> str:
    return (url.path or "/") + ("" if url.query is None else f"?{url.query}")


def _has_secret(request: HttpRequest) -> bool:
    return bool(request.secrets) or any(isinstance(value, Secret) for _, value in request.headers)


def _headers(request: HttpRequest, url: Url) -> list[tuple[str, str]]:
    plain = [(k, v.reveal() if isinstance(v, Secret) else v) for k, v in request.headers]
    fixed = [
        ("host", url.origin.partition("://")[2]),
        ("user-agent", "brokerctl"),
        ("accept-encoding", "identity"),
        ("connection", "close"),
    ]
    return [*fixed, *plain]


class _Coming:
    """An answer while it arrives: its beginning is not lost where the rest never comes."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.sent_at = 0.0
        self._status: int | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._body = bytearray()

    def part(self) -> HttpResponse | None:
        """Return the answer as far as it came; None before the first byte of its body."""
        return self.answer() if self._body else None

    def answer(self) -> HttpResponse:
        """Return the answer."""
        assert self._status is not None  # noqa: S101 - it was read
        return self.request.answered(
            status=self._status,
            headers=self._headers,
            body=bytes(self._body),
            sent_at=self.sent_at,
            received_at=time.time(),
        )

    async def read(self, response: httpx2.Response, host: str) -> None:
        """Read the answer; CutError for one that breaks a bound, with as much as is within."""
        raw = response.headers.raw
        self._status = response.status_code
        self._headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in raw[:MAX_HEADERS]
        )
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        problem = await self._unpack(response, coding)
        if problem is None and len(raw) > MAX_HEADERS:
            problem = "answered with too many headers"
        if problem is not None:
            raise self.request.cut(f"{host} {problem}", self.part())

    async def _unpack(self, response: httpx2.Response, coding: str) -> str | None:
        """Take the body, at most 1 MiB, counted after decoding: a small gzip can be huge."""
        unpack = _unpacker(coding)
        async for chunk in response.aiter_raw():
            try:
                self._body += unpack(chunk, MAX_BODY + 1 - len(self._body))
            except zlib.error:
                return "answered with a body that can't be unpacked"
            if len(self._body) > MAX_BODY:
                return "answered with more than 1 MiB"
        return None if coding in _CODINGS else "answered in a coding that was not asked for"


def _unpacker(coding: str) -> Callable[[bytes, int], bytes]:
    if coding in _PACKED:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
    return lambda chunk, room: chunk[:room]


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time-outs go by a clock.

    By the work clock, so that a process that got no processor does not call an answer late that
    lies in its socket already, and with it a rotated refresh token.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._work_clock = clock
        super().__init__()

    def time(self) -> float:
        """Return the time of the loop."""
        return self._work_clock()


class _DaemonThreads(ThreadPoolExecutor):
    """Runs each name look-up in a thread that nobody waits for.

    A resolver can't be interrupted: the event loop would wait for its own threads past the
    deadline, and past the end of the program. Such a thread takes no signal: a later request may
    hold them back.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - the base class's signature
        future: Future[Any] = Future()

        def run() -> None:
            take_no_signal()
            future.set_running_or_notify_cancel()
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - whoever awaits the future gets it
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future
