"""docs/recipes.md: tools that ask no helper, run as it says, against servers that check."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import Result, require_tool
from tests.tools.guarded import Guarded, Reply
from tests.tools.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

PARENT = b"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId><artifactId>parent</artifactId><version>1.0</version>
  <packaging>pom</packaging>
</project>
"""
CHILD = """<project>
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>com.example</groupId><artifactId>parent</artifactId><version>1.0</version>
    <relativePath/>
  </parent>
  <artifactId>child</artifactId><packaging>pom</packaging>
  <repositories><repository><id>corp</id><url>{url}/repo</url></repository></repositories>
</project>
"""
SERVERS = {
    "Basic": "<username>oauth2</username><password>${env.CORP_TOKEN}</password>",
    "Bearer": "<configuration><httpHeaders><property><name>Authorization</name>"
    "<value>Bearer ${env.CORP_TOKEN}</value></property></httpHeaders></configuration>",
}
GRADLE = """repositories {{ maven {{
  url '{url}/repo'
  credentials {{ username 'oauth2'; password System.getenv('CORP_TOKEN') }}
}} }}
configurations {{ lib }}
dependencies {{ lib 'com.example:lib:1.0' }}
task fetch {{ doLast {{ configurations.lib.each {{ println it.name }} }} }}
"""


@pytest.fixture
def web(trace_dir: str, issuer: DemoIssuer) -> Iterator[Guarded]:
    """Return a server that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="web-", dir=trace_dir)
    with Guarded(folder, issuer) as running:
        running.put_json("/hello", {"said": "yes"})
        yield running


@pytest.fixture
def corp(brokerctl: Program, issuer: DemoIssuer, web: Guarded) -> Program:
    """Return a program with the profile `service`, which is for that server."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    main_job.service(brokerctl, issuer, hosts=f'["{web.url}"]')
    return brokerctl


def run(program: Program, script: str, **variables: str) -> Result:
    """Run a few lines of bash in the home, as a person would type them."""
    done = subprocess.run(
        [require_tool("bash"), "-c", script],
        env=program.environment(variables),
        cwd=program.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    program.keep(("bash", script), done.stdout, done.stderr)
    return Result(done.returncode, done.stdout, done.stderr)


def write(program: Program, name: str, text: str) -> None:
    """Write a file below the home."""
    path = os.path.join(program.home, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("script", "scheme"),
    [
        ("brokerctl get service --format curl | curl -sS -K - $URL/hello", "Bearer"),
        ("curl -sS -K <(brokerctl get service --format curl) $URL/hello", "Bearer"),
        ("curl -sS -H @<(brokerctl get service --format header) $URL/hello", "Bearer"),
        ("curl -sS --netrc-file <(brokerctl get service --format netrc) $URL/hello", "Basic"),
    ],
)
def test_curl(corp: Program, web: Guarded, script: str, scheme: str) -> None:
    """Through a pipe: neither in a file nor among the words that `ps` shows."""
    require_tool("curl")
    assert run(corp, script, URL=web.url) == (0, '{"said": "yes"}', "")
    assert web.statuses(scheme) == {200}


def test_curl_takes_a_bearer_to_no_other_host(corp: Program, web: Guarded) -> None:
    """A redirect to another origin is followed without the token."""
    require_tool("curl")
    elsewhere = {"Location": web.url.replace("127.0.0.1", "localhost") + "/hello"}
    web.pages["/moved"] = Reply(headers=elsewhere, status=302)
    script = "curl -sSL -K <(brokerctl get service --format curl) $URL/moved"
    assert run(corp, script, URL=web.url).returncode == 0
    assert [(one.scheme, one.status) for one in web.seen] == [("Bearer", 302), ("", 401)]


def test_wget(corp: Program, web: Guarded) -> None:
    """It reads no pipe, so for its time there is a private file."""
    require_tool("wget")
    script = """umask 077
brokerctl get service --format header | sed 's/^/header = /' >wgetrc
wget -qO- --config wgetrc --max-redirect 0 $URL/hello; rm wgetrc"""
    assert run(corp, script, URL=web.url) == (0, '{"said": "yes"}', "")
    assert web.statuses("Bearer") == {200}


def test_httpie(corp: Program, web: Guarded) -> None:
    """A header's value may come from a file, and so from a pipe."""
    require_tool("http")
    script = """http --ignore-stdin $URL/hello \
Authorization:@<(printf 'Bearer %s' "$(brokerctl get service)")"""
    said = run(corp, script, URL=web.url)
    assert (said.returncode, said.stdout.strip()) == (0, '{"said": "yes"}')
    assert web.statuses("Bearer") == {200}


def test_npm(corp: Program, web: Guarded) -> None:
    """The file names the variable, and the session has it."""
    require_tool("npm")
    web.put_package("left-padding")
    write(corp, "work/package.json", '{"name": "mine", "version": "1.0.0"}\n')
    npmrc = f"registry={web.url}/\n//{web.host}/:_authToken=${{NPM_TOKEN}}\n"
    write(corp, "work/.npmrc", npmrc)
    install = "npm install left-padding --no-audit --no-update-notifier --no-fund"
    said = run(corp, f"cd work && brokerctl exec --env NPM_TOKEN=service -- {install}")
    assert said.returncode == 0, said.stderr
    assert os.path.exists(os.path.join(corp.home, "work/node_modules/left-padding/index.js"))
    assert web.statuses("Bearer") == {200}


def test_gh(corp: Program, issuer: DemoIssuer, trace_dir: str) -> None:
    """A GitHub Enterprise Server's name and token are in the environment."""
    require_tool("gh")
    folder = tempfile.mkdtemp(prefix="gh-", dir=trace_dir)
    with Guarded(folder, issuer, tls=True) as forge:
        forge.put_json("/api/v3/user", {"login": "alice"})
        variables = {"GH_HOST": forge.host, "SSL_CERT_FILE": forge.ca_file}
        ask = "gh api user --jq .login"
        said = run(corp, f"brokerctl exec --env GH_ENTERPRISE_TOKEN=service -- {ask}", **variables)
        assert said == (0, "alice\n", "")
        assert forge.statuses("token") == {200}


@pytest.mark.slow("Maven starts a JVM")
@pytest.mark.parametrize("scheme", SERVERS)
def test_maven(corp: Program, web: Guarded, scheme: str) -> None:
    """The settings name the variable, as a password or as a header."""
    require_tool("mvn")
    web.pages["/repo/com/example/parent/1.0/parent-1.0.pom"] = Reply(PARENT, "text/xml")
    write(corp, "work/pom.xml", CHILD.format(url=web.url))
    server = f"<server><id>corp</id>{SERVERS[scheme]}</server>"
    settings = f"<settings><servers>{server}</servers></settings>\n"
    write(corp, "work/settings.xml", settings)
    build = "mvn -B -q -s settings.xml -Dmaven.repo.local=m2 validate"
    said = run(corp, f"cd work && brokerctl exec --env CORP_TOKEN=service -- {build}")
    assert said.returncode == 0, said.stdout
    assert 200 in web.statuses(scheme)
    assert 401 not in web.statuses(scheme)


@pytest.mark.slow("gradle starts a JVM, and compiles its script in it")
def test_gradle(corp: Program, web: Guarded) -> None:
    """The build script asks the environment."""
    require_tool("gradle")
    about = PARENT.replace(b"parent", b"lib").replace(b"<packaging>pom</packaging>", b"")
    web.pages["/repo/com/example/lib/1.0/lib-1.0.pom"] = Reply(about, "text/xml")
    web.pages["/repo/com/example/lib/1.0/lib-1.0.jar"] = Reply(b"PK", "application/java-archive")
    write(corp, "work/settings.gradle", "rootProject.name = 'mine'\n")
    write(corp, "work/build.gradle", GRADLE.format(url=web.url))
    build = "gradle --no-daemon -q -g user fetch"
    said = run(corp, f"cd work && brokerctl exec --env CORP_TOKEN=service -- {build}")
    assert (said.returncode, said.stdout) == (0, "lib-1.0.jar\n"), said.stderr
    assert web.statuses("Basic") == {200}


def test_psql(corp: Program, issuer: DemoIssuer) -> None:
    """The token is the password; the server asks the issuer, and a wrong one stays outside."""
    with Postgres(issuer) as server:
        ask = f"psql -h 127.0.0.1 -p {server.port} -U alice -d postgres -Atc 'select 6 * 7'"
        said = run(corp, f"brokerctl exec --env PGPASSWORD=service -- {ask}")
        assert said == (0, "42\n", ""), said.stderr
        wrong = run(corp, f"PGPASSWORD=x {ask}")
        assert wrong.returncode == 2
        assert server.radius.answers == [2, 3]
