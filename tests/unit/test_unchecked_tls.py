"""How each tool switches its checks of certificates off, as far as a helper can see it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.helpers import GET, HELPERS, CredentialRequest, load
from brokerctl.helpers.git import find_unchecked
from brokerctl.helpers.unchecked_tls import VARIABLES
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.platform.private_files import find_regular
from brokerctl.policy import decide

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "https://git.example.com"
PYPI = "https://pypi.example.com:8443/simple/"


def find_unchecked_of(
    tool: str, wanted: CredentialRequest, environ: Mapping[str, str]
) -> str | None:
    """Name what has a tool check no certificate."""
    unchecked = load(tool).traits.unchecked
    assert unchecked is not None
    return unchecked(wanted, environ)


def test_every_helper_is_in_the_table() -> None:
    """A helper whose tool has such a variable looks at the table, and none is left out of it."""
    assert VARIABLES.keys() <= HELPERS.keys()
    for tool, variables in VARIABLES.items():
        looks = load(tool).traits.unchecked is not None
        assert looks or not variables, tool


@pytest.mark.parametrize(
    ("tool", "variable", "value", "is_off"),
    [
        ("askpass", "GIT_SSL_NO_VERIFY", "", True),
        ("git", "GIT_SSL_NO_VERIFY", "0", True),
        ("gcp", "NODE_TLS_REJECT_UNAUTHORIZED", "0", True),
        ("gcp", "NODE_TLS_REJECT_UNAUTHORIZED", "1", False),
        ("gcp", "CLOUDSDK_AUTH_DISABLE_SSL_VALIDATION", "True", True),
        ("gcp", "CLOUDSDK_AUTH_DISABLE_SSL_VALIDATION", "false", False),
        ("gcp", "CURL_CA_BUNDLE", "", True),
        ("keyring", "CURL_CA_BUNDLE", "", True),
        ("keyring", "CURL_CA_BUNDLE", "/etc/ca.pem", False),
        ("keyring", "REQUESTS_CA_BUNDLE", "", True),
        ("keyring", "PIP_TRUSTED_HOST", "a.example.com pypi.example.com", True),
        ("keyring", "PIP_TRUSTED_HOST", "PyPI.example.com:8443", True),
        ("keyring", "PIP_TRUSTED_HOST", "pypi.example.com:443 example.com", False),
        ("keyring", "UV_INSECURE_HOST", "pypi.example.com", True),
        ("keyring", "UV_INSECURE_HOST", "https://pypi.example.com:8443/", True),
        ("keyring", "UV_INSECURE_HOST", "*", True),
        ("keyring", "UV_INSECURE_HOST", "pypi.example.org", False),
        ("keyring", "POETRY_CERTIFICATES_CORP_CERT", "false", True),
        ("keyring", "POETRY_CERTIFICATES_CORP_CERT", "/etc/ca.pem", False),
        ("pnpm", "NODE_TLS_REJECT_UNAUTHORIZED", "0", True),
        ("pnpm", "npm_config_strict_ssl", "false", True),
        ("pnpm", "NPM_CONFIG_STRICT_SSL", "false", True),
        ("pnpm", "npm_config_strict_ssl", "", True),
        ("pnpm", "npm_config_strict_ssl", "true", False),
        ("vault", "BAO_SKIP_VERIFY", "1", True),
        ("vault", "VAULT_SKIP_VERIFY", "false", False),
    ],
)
def test_variables(tool: str, variable: str, value: str, *, is_off: bool) -> None:
    """Security: a value that switches checks off is named, any other is not."""
    url = None if tool in {"gcp", "pnpm"} else PYPI
    wanted = CredentialRequest(action=GET, url=url)
    environ = {variable: value, "GIT_CONFIG_NOSYSTEM": "1"}
    assert find_unchecked_of(tool, wanted, environ) == (variable if is_off else None)


def test_the_refusal_names_what_was_found() -> None:
    """Who is refused sees which variable or file it was, in the reason that the record has too."""
    profile = Profile(name="p", issuer="https://i.example", flow="code", client_id="c")
    requester = Requester(uid=os.geteuid(), pid=1)
    request = TokenRequest(profile="p", requester=requester, is_insecure=True)
    by = "http.sslVerify of /home/u/.gitconfig"
    reason = decide(profile, request.replace(insecure_by=by)).reason
    assert reason.startswith(f"by {by} the server's certificate would not be checked")
    assert decide(profile.replace(insecure_ok=True), request).effect == "allow"


def section(url: str, value: str) -> str:
    """Return the lines of one URL."""
    return f'[http "{url}"]\n\tsslVerify = {value}\n'


OFF, ON = "[http]\nsslVerify = off\n", "[http]\nsslVerify = on\n"
TEAM = section(f"{HOST}/team", "false")


@pytest.mark.parametrize(
    ("text", "url", "username", "is_off"),
    [
        ("", HOST, None, False),
        (OFF, HOST, None, True),
        (OFF, "http://localhost", None, False),
        (OFF + ON, HOST, None, False),
        (OFF + section(HOST, "true"), HOST, None, False),
        (OFF + section("https://other.example.com", "true"), HOST, None, True),
        (section(HOST, "0"), HOST, None, True),
        (section("https://*.example.com", "no"), HOST, None, True),
        (section("https://other.example.com", "no"), HOST, None, False),
        (section("http://git.example.com", "no"), HOST, None, False),
        # Git seldom says which repository it is for: any that is not checked counts.
        (TEAM, HOST, None, True),
        (TEAM, f"{HOST}/team/shop.git", None, True),
        (TEAM, f"{HOST}/open/shop.git", None, False),
        (OFF + section(f"{HOST}/team", "true"), HOST, None, True),
        # The host counts before the path, and the path before the user.
        (
            section(HOST, "on") + section("https://*.example.com/team", "off"),
            f"{HOST}/team",
            None,
            False,
        ),
        (
            section(HOST, "off") + section("https://*.example.com/team", "on"),
            f"{HOST}/team",
            None,
            True,
        ),
        (TEAM + section("https://alice@git.example.com", "on"), f"{HOST}/team", "alice", True),
        (OFF + section(f"{HOST}/team", "true"), f"{HOST}/team/shop.git", None, False),
        # The name may be the URL's or a configured one.
        (section("https://alice@git.example.com", "no"), HOST, "alice", True),
        (section("https://alice@git.example.com", "no"), HOST, "bob", False),
        (OFF + section("https://alice@git.example.com", "yes"), HOST, "alice", True),
        (section("https://al%40ice@git.example.com", "no"), HOST, "al@ice", True),
        (section("https://al%40ice@git.example.com", "no"), HOST, "al%40ice", False),
        # Git compares such a path with no section; its server may see another one.
        (OFF, f"{HOST}/../team", None, True),
        (ON, f"{HOST}/../team", None, False),
        # Of what is not decided here only the worse is believed.
        ('[includeIf "onbranch:main"]\npath = off\n', HOST, None, True),
        (OFF + '[includeIf "onbranch:main"]\npath = on\n', HOST, None, True),
        (ON + '[includeIf "hasconfig:remote.*.url:x"]\npath = off\n', HOST, None, True),
        ('[includeIf "gitdir:/no/[w]here/"]\npath = off\n', HOST, None, True),
        ('[includeIf "gitdir:/no/where/"]\npath = off\n', HOST, None, False),
        ("[include]\npath = none\n[include]\npath = self\n", HOST, None, False),
        ("[include] path = off\n", HOST, None, True),
        ('[x] [include]\npath = "off"\n', HOST, None, True),
        # Git stops at what is no configuration, at least the one that we know.
        ("[http\nsslVerify = true\n", HOST, None, True),
        ("[http]\nsslVerify = perhaps\n", HOST, None, True),
        ("[alias]\nx = !echo sslVerify=false\n", HOST, None, False),
        ("# sslVerify = false\n", HOST, None, False),
    ],
)
def test_git_s_files(
    tmp_path: Path, text: str, url: str, username: str | None, *, is_off: bool
) -> None:
    """Security: the setting that counts for this server, or may do, is found and named."""
    for name, content in (("self", text), ("off", OFF), ("on", ON)):
        (tmp_path / name).write_text(content)
    environ = {
        "GIT_CONFIG_GLOBAL": str(tmp_path / "self"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(tmp_path / "repo"),
    }
    wanted = CredentialRequest(action=GET, url=url, username=username)
    found = find_unchecked(wanted, environ) or ""
    assert found.startswith(f"http.sslVerify of {tmp_path}/" if is_off else "")
    assert bool(found) is is_off


@pytest.mark.parametrize(
    ("conditions", "paths", "is_off"),
    [
        (["gitdir:/no/where/", "gitdir:/nor/here/"], ["./self", "../{}/self"], False),
        ([f"onbranch:x{n}" for n in range(6)], ["self"] * 6, True),
        (["gitdir:/**/" + "*p" * 12 + "!/"], ["off"], False),
        (["gitdir:/**/" + "*p" * 400 + "!/"], ["off"], True),
    ],
    ids=["names without end", "reads without end", "stars", "more stars"],
)
@pytest.mark.timeout(60)
def test_what_git_passes_over_ends_here_too(
    tmp_path: Path, conditions: list[str], paths: list[str], *, is_off: bool
) -> None:
    """A hostile clone's configuration, whose conditions git finds false, holds up no answer."""
    found = zip(conditions, paths, strict=True)
    text = "".join(f'[includeIf "{one}"]\npath = {path}\n' for one, path in found)
    (tmp_path / "self").write_text(text.format(tmp_path.name) + f"# {'sslVerify' * is_off}\n")
    (tmp_path / "off").write_text(OFF)
    environ = {
        "GIT_CONFIG_GLOBAL": str(tmp_path / "self"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(tmp_path / ("p" * 40)),
    }
    assert bool(find_unchecked(CredentialRequest(action=GET, url=HOST), environ)) is is_off


@pytest.mark.parametrize("count", ["1", " 1", "+1", "01", "\t+2"])
def test_a_count_as_git_reads_it(count: str) -> None:
    """Git takes what strtoul(3) does: blanks and a sign before the number too."""
    environ = {
        "GIT_CONFIG_COUNT": count,
        "GIT_CONFIG_KEY_0": "http.sslVerify",
        "GIT_CONFIG_VALUE_0": "false",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": "/no/where",
    }
    found = find_unchecked(CredentialRequest(action=GET, url=HOST), environ)
    assert found == "http.sslVerify of git's command line"


def test_the_user_that_askpass_answered_with(tmp_path: Path) -> None:
    """A URL's own user is one of a section, also where it is the one that we give ourselves."""
    (tmp_path / "own").write_text(section("https://oauth2@git.example.com", "no"))
    environ = {"GIT_CONFIG_GLOBAL": str(tmp_path / "own"), "GIT_CONFIG_NOSYSTEM": "1"}
    helper = load("askpass")
    wanted = helper.read(["Password for 'https://oauth2@git.example.com': "], b"", environ)
    assert wanted.reply is None
    assert find_unchecked_of("askpass", wanted, environ | {"GIT_DIR": "/no/where"})


def test_a_linked_worktree_s_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository's file is where the common folder is, the worktree's own beside its HEAD."""
    main, linked = tmp_path / "main/.git", tmp_path / "main/.git/worktrees/w"
    linked.mkdir(parents=True)
    (tmp_path / "w/deep").mkdir(parents=True)
    (tmp_path / "w/.git").write_text(f"gitdir: {linked}\n")
    (linked / "HEAD").write_text("ref: refs/heads/w\n")
    (linked / "commondir").write_text("../..\n")
    (main / "config").write_text("[extensions]\nworktreeConfig = true\n" + OFF)
    monkeypatch.chdir(tmp_path / "w/deep")
    wanted, environ = CredentialRequest(action=GET, url=HOST), {"GIT_CONFIG_NOSYSTEM": "1"}
    assert (find_unchecked(wanted, environ) or "").endswith("worktrees/w/../../config")
    (linked / "config.worktree").write_text(ON)
    assert find_unchecked(wanted, environ) is None
    (linked / "config.worktree").write_text(OFF)
    assert (find_unchecked(wanted, environ) or "").endswith("worktrees/w/config.worktree")
    assert find_unchecked(wanted, environ | {"GIT_DIR": "/nowhere"}) is None
    assert find_unchecked(wanted, environ | {"GIT_CEILING_DIRECTORIES": f"{tmp_path}/w"}) is None


def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe is git's to read; a folder, and one without a name, are nothing."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", "/dev/null", "no\0name"):
        assert find_regular(str(path)) is None


REGISTRY = '[[registry]]\nlocation = "{}"\ninsecure = {}\n'
UV = 'allow-insecure-host = ["{}"]\n'
POETRY = "[certificates.corp]\ncert = {}\n"
PLACES = {
    "daemon": ("docker", ".config/docker/daemon.json"),
    "drop-in": ("docker", ".config/containers/registries.conf.d/x.conf"),
    "npmrc": ("pnpm", ".npmrc"),
    "pip": ("keyring", ".config/pip/pip.conf"),
    "pnpm": ("pnpm", ".config/pnpm/rc"),
    "poetry": ("keyring", ".config/pypoetry/config.toml"),
    "project": ("pnpm", "work/.npmrc"),
    "pyproject": ("keyring", "work/pyproject.toml"),
    "registries": ("docker", ".config/containers/registries.conf"),
    "uv": ("keyring", ".config/uv/uv.toml"),
    "workspace": ("pnpm", "pnpm-workspace.yaml"),
}


@pytest.mark.parametrize(
    ("place", "text", "is_off"),
    [
        ("registries", REGISTRY.format("pypi.example.com:8443", "true"), True),
        ("registries", REGISTRY.format("PyPI.example.com:8443/team", "true"), True),
        ("registries", REGISTRY.format("pypi.example.com:8443", "false"), False),
        ("registries", REGISTRY.format("pypi.example.com", "true"), False),
        ("registries", REGISTRY.format("*.example.com:8443", "true"), True),
        ("registries", '[registries.insecure]\nregistries = ["pypi.example.com:8443"]\n', True),
        ("registries", '# [[registry]]\n# insecure = true\nlocation = "x"\n', False),
        ("registries", "insecure = ", True),
        ("drop-in", REGISTRY.format("pypi.example.com:8443", "true"), True),
        ("daemon", '{"insecure-registries": ["pypi.example.com:8443"]}', True),
        ("daemon", '{"insecure-registries": ["10.0.0.0/8", "other.example.com"]}', False),
        ("pip", "[global]\ntrusted-host = pypi.example.com\n", True),
        ("pip", "[install]\ntrusted_host:\n  a.example.com\n  pypi.example.com:8443\n", True),
        ("pip", "[global]\ntrusted-host = a.example.com\n; pypi.example.com\n", False),
        ("pip", "[global]\nindex-url = https://trusted.example.com\n", False),
        ("uv", UV.format("pypi.example.com"), True),
        ("uv", UV.format("pypi.example.com:1"), False),
        ("pyproject", "[tool.uv.pip]\n" + UV.format("https://pypi.example.com:8443"), True),
        ("poetry", POETRY.format("false"), True),
        ("poetry", POETRY.format('"/etc/ca.pem"'), False),
        (
            "poetry",
            POETRY.format("false") + '[repositories.corp]\nurl = "https://a.example.com/simple"\n',
            False,
        ),
        ("npmrc", "strict-ssl=false\n", True),
        ("npmrc", "strict-ssl = ${STRICT}\n", True),
        ("npmrc", "strict-ssl = true\n", False),
        ("npmrc", "; strict-ssl=false\n", False),
        ("project", "strict-ssl=false\n", True),
        ("pnpm", "strict-ssl=false\n", True),
        ("workspace", "packages: []\nstrictSsl: false\n", True),
        ("workspace", "strictSsl: true\n", False),
    ],
)
def test_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, text: str, *, is_off: bool
) -> None:
    """Security: a file of the tool's that has it check nothing of this server is named."""
    tool, name = PLACES[place]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    wanted = CredentialRequest(action=GET, url=None if tool == "pnpm" else PYPI)
    found = find_unchecked_of(tool, wanted, {"HOME": str(tmp_path)})
    assert found == (str(path) if is_off else None)


@pytest.mark.parametrize(
    ("names", "url", "is_off"),
    [
        (["10.0.0.0/8"], "https://10.1.2.3:5000", True),
        (["10.0.0.0/8"], "https://11.1.2.3:5000", False),
        (["fd00::/8"], "https://[fd00::1]", True),
        (["registry.example.com"], "https://registry.example.com:5000", True),
        (["registry.example.com:5001"], "https://registry.example.com:5000", False),
    ],
)
def test_docker_s_daemon(tmp_path: Path, names: list[str], url: str, *, is_off: bool) -> None:
    """It lists names, with and without a port, and ranges of addresses."""
    path = tmp_path / ".config/docker/daemon.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"insecure-registries": names}))
    wanted = CredentialRequest(action=GET, url=url)
    found = find_unchecked_of("docker", wanted, {"HOME": str(tmp_path)})
    assert found == (str(path) if is_off else None)
