"""A service in a pod, as docs/pods.md has it: its token as identity, its store on a volume.

Mounts, owners and modes are those that a kubelet makes: links to a folder with a date, swapped by a
rename; read-only mounts; a root file system that is read-only; a uid without an entry in passwd.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.emulations.jobs import Job
from tests.idp.test_job_exchange import deploy
from tests.machine.room import require_root
from tests.program import PROGRAM, TIMEOUT_S, Result

if TYPE_CHECKING:
    from tests.emulations.platforms import Platforms
    from tests.idp.issuer import DemoIssuer, OidcProvider
    from tests.program import Program

# The capability is for the interpreter of these tests alone, which may lie below root's home.
POD = r"""
set -e
mount -t tmpfs -o mode=0755 pod /srv
run() {
  setpriv --reuid="$POD_UID" --regid="$POD_GID" --groups="${FS_GROUP:-$POD_GID}" \
    --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
}
# As kubelet's atomic writer: a new folder, and one link that is swapped by a rename.
publish() {
  made="/srv/.$1/..$(date +%Y_%m_%d_%H_%M_%S.%N)"
  mkdir "$made"
  cp "$2"/* "$made/"
  chmod "$3" "$made"/*
  chown "$4" "$made"/*
  ln -s "${made##*/}" "/srv/.$1/..data_tmp"
  mv -T "/srv/.$1/..data_tmp" "/srv/.$1/..data"
  for file in "$2"/*; do ln -sf "..data/${file##*/}" "/srv/.$1/${file##*/}"; done
  [ -z "$FS_GROUP" ] || { chgrp -R "$FS_GROUP" "/srv/.$1"; chmod g+rs "/srv/.$1" "$made"; }
}
volume() {
  mkdir "/srv/.$1" "/srv/$1"
  mount -t tmpfs -o mode=0777 "$1" "/srv/.$1"
  publish "$@"
  mount --bind "/srv/.$1" "/srv/$1"
  mount -o remount,bind,ro "/srv/$1"
}
# `fsGroup` at each start of a pod; with OnRootMismatch only where the volume's own folder differs.
own_by_group() {
  [ -n "$FS_GROUP" ] || return 0
  chgrp -R "$FS_GROUP" "$1"
  chmod -R g+rwX "$1"
  find "$1" -type d -exec chmod g+s {} +
}
mkdir /srv/.files
mount --bind "$FILES" /srv/.files
volume config "$FILES/config" "$CONFIG_MODE" 0:0
volume secret "$FILES/secret" "$SECRET_MODE" 0:0
volume identity "$FILES/identity" "$TOKEN_MODE" "$TOKEN_OWNER"
mkdir /srv/claim /srv/own
mount --bind "$CLAIM" /srv/claim
case "$POLICY" in
  always) own_by_group /srv/claim ;;
  *) [ "$(stat -c %g /srv/claim)" = "$FS_GROUP" ] || own_by_group /srv/claim ;;
esac
[ -n "$FS_GROUP" ] || chmod 0777 /srv/claim
run mkdir -p -m 700 /srv/claim/brokerctl
mount --bind /srv/claim/brokerctl /srv/own
mount -t tmpfs -o mode=1777 tmp /tmp
mount -o remount,bind,ro /
eval "$STEPS"
"""
UIDS = {"a uid of its own": ("10001", "10001", "2000"), "OpenShift's": ("1000650000", "0", "2000")}


class Pod(NamedTuple):
    """A pod's files, and the claim that outlives it."""

    program: Program
    files: str
    claim: str

    def write(self, volume: str, name: str, text: str) -> None:
        """Write a file of a volume."""
        folder = os.path.join(self.files, volume)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def run(self, steps: str, **given: str) -> Result:
        """Start the pod, run shell steps in it (`run` is its process), and remove it."""
        require_root()
        env = {
            "PATH": self.program.environment()["PATH"],
            "HOME": "/",
            "LANG": "C.UTF-8",
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "BROKERCTL_CONFIG": "/srv/config/config.toml",
            "BROKERCTL_HOME": "/srv/own/home",
            "BROKERCTL_KEEPER": "env",
            "BROKERCTL_KEY_FILE": "/srv/secret/key",
            "B": PROGRAM,
            "FILES": self.files,
            "CLAIM": self.claim,
            "STEPS": steps,
            "CONFIG_MODE": "0444",
            "SECRET_MODE": "0440",
            "TOKEN_MODE": "0640",
            "TOKEN_OWNER": "0:0",
            "POLICY": "on root mismatch",
            **dict(zip(("POD_UID", "POD_GID", "FS_GROUP"), UIDS["OpenShift's"], strict=True)),
            **given,
        }
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", POD],
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        self.program.keep((steps,), result.stdout, result.stderr)
        return result


@pytest.fixture
def pod(brokerctl: Program) -> Pod:
    """Return a pod with a key and an empty claim; skip where nothing can be mounted."""
    require_root()
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs x /srv"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"nothing can be mounted here: {done.stderr.strip()}")
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    made = Pod(
        brokerctl, os.path.join(brokerctl.home, "pod"), os.path.join(brokerctl.home, "claim")
    )
    os.mkdir(made.claim, 0o755)
    made.write("identity", "token", "none")
    made.write("secret", "key", brokerctl("store", "key").stdout)
    return made


def exchange(pod: Pod, issuer: OidcProvider, platforms: Platforms, job: Job) -> None:
    """Give the pod the profile `deploy`, and a token of its service account."""
    authority = platforms.authority["kubernetes"]
    issuer.trust(authority.issuer, authority.jwks, audience=issuer.url)
    pod.write("config", "config.toml", deploy(issuer, '{ kubernetes = "/srv/identity/token" }'))
    pod.write("identity", "token", platforms.token("kubernetes", job, issuer.url))


# What a kubelet makes of a service account's token: of the container's user where all containers
# have the same one, of root and the group where there is an fsGroup, open to all else.
TOKENS = {"the user's": ("0600", "user"), "the group's": ("0640", "0:0"), "open": ("0644", "0:0")}


@pytest.mark.parametrize("uid", UIDS)
@pytest.mark.parametrize("token", TOKENS)
def test_its_token_is_its_identity(
    pod: Pod, http_exchange: OidcProvider, platforms: Platforms, uid: str, token: str
) -> None:
    """Exchanged, kept for the pod, and read anew where the kubelet has replaced it."""
    exchange(pod, http_exchange, platforms, Job())
    mode, owner = TOKENS[token]
    names = dict(zip(("POD_UID", "POD_GID", "FS_GROUP"), UIDS[uid], strict=True))
    given = names | {
        "TOKEN_MODE": mode,
        "TOKEN_OWNER": names["POD_UID"] if owner == "user" else owner,
    }
    pod.write("later", "token", platforms.token("kubernetes", Job(), http_exchange.url))
    steps = 'run "$B" get deploy; run "$B" get deploy\n'
    steps += 'publish identity /srv/.files/later "$TOKEN_MODE" "$TOKEN_OWNER"\n'
    steps += 'run "$B" get deploy --fresh'
    done = pod.run(steps, **given)
    assert (done.returncode, done.stderr) == (0, ""), done
    first, second, third = done.stdout.split()
    assert first == second != third
    assert all(http_exchange.is_active(one) for one in (first, third))
    seen = http_exchange.exchanges()
    assert [one["is_given"] for one in seen] == [True, True]


def test_another_pod_on_the_same_claim(
    pod: Pod, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """It is another job, and is served nothing of the first one's."""
    tokens = []
    for number in (1, 2):
        exchange(pod, http_exchange, platforms, Job(number=number))
        done = pod.run('run "$B" get deploy')
        assert (done.returncode, done.stderr) == (0, ""), done
        tokens.append(done.stdout)
    assert tokens[0] != tokens[1]


def test_doctor_shows_the_service_account(
    pod: Pod, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """`doctor --ci` names the pod, and writes nothing."""
    exchange(pod, http_exchange, platforms, Job())
    done = pod.run('run "$B" doctor --ci; ls -A /srv/own')
    assert done.returncode == 0, done
    assert "'deploy': Kubernetes signed who this job is" in done.stdout
    assert "sub, letter by letter:\nsystem:serviceaccount:octo-org:deploy\n" in done.stdout
    assert (
        done.stdout.endswith('api://AzureADTokenExchange"\n  ]\n}\n') or "home" not in done.stdout
    )


def test_a_store_on_a_claim_outlives_the_pod(pod: Pod, demo_process: DemoIssuer) -> None:
    """What one pod stored the next one finds, sealed with the key of the Secret."""
    pod.write("config", "config.toml", service(demo_process))
    pod.write("secret", "books", demo_process.secrets["basic"] or "")
    first = pod.run('run "$B" get books')
    assert (first.returncode, first.stderr) == (0, ""), first
    again = pod.run('run "$B" get books; run "$B" audit verify >/srv/own/said')
    assert (again.returncode, again.stdout) == (0, first.stdout), again


def test_a_group_that_may_write_to_the_store_is_told(pod: Pod, demo_process: DemoIssuer) -> None:
    """`fsGroup` with the policy Always opens the store to the group at each start: exit code 6."""
    pod.write("config", "config.toml", service(demo_process))
    pod.write("secret", "books", demo_process.secrets["basic"] or "")
    assert pod.run('run "$B" get books').returncode == 0
    done = pod.run('run "$B" get books', POLICY="always")
    assert (done.returncode, done.stdout) == (6, ""), done
    hint = done.stderr.split("brokerctl: hint: ")[1]
    assert hint == (
        "set fsGroupChangePolicy: OnRootMismatch in the pod,"
        " and run 'chmod -R go-rwx /srv/own' once\n"
    )
    mended = pod.run('run chmod -R go-rwx /srv/own; run "$B" get books')
    assert (mended.returncode, mended.stderr) == (0, ""), mended


def service(issuer: DemoIssuer) -> str:
    """Return a profile whose client's secret is mounted from a Secret."""
    return f"""\
[profile.books]
issuer = "{issuer.url}"
flow = "client_credentials"
client_id = "basic"
client_auth = "client_secret_basic"
client_secret = {{ file = "/srv/secret/books" }}
scopes = ["read"]
"""
