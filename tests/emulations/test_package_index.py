"""The emulated package indexes take the identity of a project's publisher, and no other."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.emulations.authority import FORGERIES
from tests.emulations.client import Answer, ask
from tests.emulations.jobs import Job, authority_of, claims_of
from tests.emulations.package_index import PYPI_AUDIENCE, PackageIndexes
from tests.tools.clients import require_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GITHUB, GITLAB = authority_of("github"), authority_of("gitlab", key=1)
TOKENS = "/api/v1/trusted_publishing/tokens"
NPM = "/-/npm/v1/oidc/token/exchange/package/shop"
GEM = "/api/v1/oidc/trusted_publisher/exchange_token"
KINDS = ("python", "cargo", "npm", "rubygems")
REFUSED = {"python": {422}, "cargo": {400}, "npm": {401, 404}, "rubygems": {400, 404}}


@pytest.fixture
def indexes() -> Iterator[PackageIndexes]:
    """Return the indexes with a project `shop` whose publisher is the usual job."""
    with PackageIndexes([GITHUB, GITLAB]) as running:
        yield running


def audience(indexes: PackageIndexes, kind: str) -> str:
    """Return the audience that an index wants."""
    if kind == "python":
        return str(ask(f"{indexes.url}/_/oidc/audience").json["audience"])
    return {"cargo": indexes.netloc, "npm": indexes.npm_audience, "rubygems": indexes.netloc}[kind]


def exchange(indexes: PackageIndexes, kind: str, token: str) -> Answer:
    """Show an identity to an index as its own client does."""
    if kind == "npm":
        return ask(f"{indexes.url}{NPM}", "POST", token=token)
    path = {"python": "/_/oidc/mint-token", "cargo": TOKENS, "rubygems": GEM}[kind]
    return ask(indexes.url + path, "POST", body={"token" if kind == "python" else "jwt": token})


def identity(audience: str, job: Job | None = None, **changes: object) -> str:
    """Return the publisher's token."""
    return GITHUB.sign({**claims_of("github", job or Job(), audience), **changes})


def given(answer: Answer) -> str:
    """Return the token that an index gave."""
    assert answer.status in {200, 201}, answer
    return str(answer.json.get("token") or answer.json["rubygems_api_key"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_publisher_gets_a_token(indexes: PackageIndexes, kind: str) -> None:
    """For its audience; another audience, repository, owner or workflow gets nothing."""
    wanted = audience(indexes, kind)
    token = given(exchange(indexes, kind, identity(wanted)))
    assert indexes.is_alive(token, kind)
    others = [
        identity("https://elsewhere.example"),
        identity(wanted, Job(repo="other")),
        identity(wanted, Job(owner_id="1")),
        identity(wanted, workflow_ref="x/y/.github/workflows/a.yml@r", job_workflow_ref="x"),
        "nonsense",
    ]
    answers = [exchange(indexes, kind, other).status for other in others]
    assert set(answers) <= REFUSED[kind]
    assert len(indexes.given) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forgery", sorted(FORGERIES.keys() - {"old"}))
def test_a_forged_identity_is_refused(indexes: PackageIndexes, kind: str, forgery: str) -> None:
    """Signature and times are checked by each index."""
    token = GITHUB.forge(forgery, claims_of("github", Job(), audience(indexes, kind)))
    assert exchange(indexes, kind, token).status in REFUSED[kind]
    assert not indexes.given


@pytest.mark.parametrize("kind", ["python", "cargo"])
def test_an_identity_works_once(indexes: PackageIndexes, kind: str) -> None:
    """PyPI and crates.io note the jti; the latter also of what it refuses afterwards."""
    token = identity(audience(indexes, kind))
    assert exchange(indexes, kind, token).status == 200
    again = exchange(indexes, kind, token)
    assert again.status in REFUSED[kind]
    assert b"already" in again.body or b"reuse" in again.body


def test_gitlab_s_identity_is_taken_as_well(indexes: PackageIndexes) -> None:
    """By its project's path and the namespace's id."""
    token = GITLAB.sign(claims_of("gitlab", Job(), PYPI_AUDIENCE))
    assert exchange(indexes, "python", token).status == 200
    fork = GITLAB.sign(claims_of("gitlab", Job(fork="parent"), PYPI_AUDIENCE))
    assert exchange(indexes, "python", fork).status == 422


def test_pypi_refuses_a_list_of_audiences_and_can_be_off(indexes: PackageIndexes) -> None:
    """It wants to be the only audience, as a text; switched off it says 403."""
    claims = claims_of("github", Job(), PYPI_AUDIENCE)
    token = GITHUB.sign({**claims, "aud": [PYPI_AUDIENCE]})
    assert exchange(indexes, "python", token).status == 422
    indexes.is_enabled = False
    assert ask(f"{indexes.url}/_/oidc/audience").status == 403


def test_crates_io_refuses_events_of_strangers_and_revokes(indexes: PackageIndexes) -> None:
    """`pull_request_target` never publishes; DELETE ends a token, also one that is gone."""
    stranger = identity(indexes.netloc, Job(event="pull_request_target"))
    assert exchange(indexes, "cargo", stranger).status == 400
    token = given(exchange(indexes, "cargo", identity(indexes.netloc)))
    url = f"{indexes.url}/api/v1/crates/new"
    assert ask(url, "PUT", headers={"Authorization": token}).status == 200
    for _ in range(2):
        assert ask(f"{indexes.url}{TOKENS}", "DELETE", token=token).status == 204
    assert ask(f"{indexes.url}{TOKENS}", "DELETE", token="x").status == 401
    assert ask(url, "PUT", headers={"Authorization": token}).status == 403


def test_npm_and_rubygems_take_their_tokens(indexes: PackageIndexes) -> None:
    """A scoped name is escaped; each token works at its own index alone."""
    indexes.project = "@octo/shop"
    path = "/-/npm/v1/oidc/token/exchange/package/@octo%2fshop"
    shown = identity(indexes.npm_audience)
    token = given(ask(indexes.url + path, "POST", token=shown))
    assert ask(f"{indexes.url}/-/whoami", token=token).status == 200
    key = given(exchange(indexes, "rubygems", identity(indexes.netloc)))
    gems = f"{indexes.url}/api/v1/gems"
    assert ask(gems, "POST", headers={"Authorization": key}).status == 200
    assert ask(gems, "POST", headers={"Authorization": token}).status == 401
    without = identity(indexes.netloc, jti=None)
    assert exchange(indexes, "rubygems", without).status == 400


def write_wheel(folder: str) -> str:
    """Write the least wheel that can be uploaded; return its path."""
    path, info = os.path.join(folder, "shop-1.0-py3-none-any.whl"), "shop-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def test_twine_uploads_with_the_token(indexes: PackageIndexes, tmp_path: Path) -> None:
    """The real client's upload is taken with the token as its password."""
    token = given(exchange(indexes, "python", identity(PYPI_AUDIENCE)))
    home = os.fspath(tmp_path)
    words = [require_client("twine"), "upload", "--non-interactive", "--disable-progress-bar"]
    words += ["--repository-url", f"{indexes.url}/legacy/", write_wheel(home)]
    environ = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": token, "HOME": home}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert indexes.uploads == ["shop 1.0"]


def test_an_upload_by_hand(indexes: PackageIndexes) -> None:
    """As twine sends it: a wrong digest, another project and a token that is none are refused."""
    token = given(exchange(indexes, "python", identity(PYPI_AUDIENCE)))
    digest = hashlib.sha256(b"wheel").hexdigest()
    assert post_file(indexes, token, digest) == 200
    assert post_file(indexes, token, "0" * 64) == 400
    assert post_file(indexes, token, digest, name="other") == 403
    assert post_file(indexes, "pypi-other", digest) == 403
    indexes.given[token] = indexes.given[token]._replace(ends=0)
    assert post_file(indexes, token, digest) == 403


def post_file(indexes: PackageIndexes, token: str, digest: str, name: str = "shop") -> int:
    """Post one file as a form; return the status."""
    fields = {":action": "file_upload", "name": name, "version": "1.0", "sha256_digest": digest}
    start = '--b\r\nContent-Disposition: form-data; name="'
    parts = [f'{start}{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    parts.append(f'{start}content"; filename="a.whl"\r\n\r\nwheel\r\n--b--\r\n')
    basic = base64.b64encode(f"__token__:{token}".encode()).decode()
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Basic {basic}"}
    data = "".join(parts).encode()
    return ask(f"{indexes.url}/legacy/", "POST", body=data, headers=headers).status
