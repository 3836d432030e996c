"""In a pod: volumes as a kubelet mounts them, an image whose files are a group's, a random uid."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.machine.room import CONFIG, answers, refused, require_mounts, write_private

if TYPE_CHECKING:
    from tests.machine.room import Machine
    from tests.program import Result

UID = 1000650000  # as OpenShift chooses them: of no user, and in root's group
AS = (
    f"setpriv --reuid={UID} --regid=0 --groups=$GROUPS_OF --inh-caps=+dac_read_search"
    " --ambient-caps=+dac_read_search"  # for the interpreter of these tests alone
)
# ConfigMaps and Secrets as kubelet's atomic writer lays them out: links to a folder with a date,
# 0777 at the top, mounted read-only. An emptyDir is root's and 0777, with fsGroup 2777. The init
# container makes the folder that `subPath` mounts.
POD = rf"""
set -e
mount -t tmpfs -o mode=0755 pod /srv
volume() {{
  mkdir "/srv/$1"
  mount -t tmpfs -o mode=0777 "$1" "/srv/$1"
  data="/srv/$1/..2026_01_05_09_00_00.1"
  mkdir "$data"
  cat "$2" >"$data/$3"
  chmod "$MODE" "$data/$3"
  ln -s ..2026_01_05_09_00_00.1 "/srv/$1/..data"
  ln -s "..data/$3" "/srv/$1/$3"
  [ -z "$GROUP" ] || {{ chgrp -R "$GROUP" "/srv/$1"; chmod g+rs "/srv/$1" "$data"; }}
  mount -o remount,bind,ro "/srv/$1"
}}
volume config "$CONFIG" config.toml
volume secret "$SECRET" value
mkdir /srv/state /srv/own /srv/image /srv/image/app
mount -t tmpfs -o mode=0777 state /srv/state
[ -z "$GROUP" ] || {{ chgrp "$GROUP" /srv/state; chmod 2777 /srv/state; }}
chown 1001:0 /srv/image/app
chmod 0775 /srv/image/app
cp "$CONFIG" /srv/image/app/config.toml
chown 1001:0 /srv/image/app/config.toml
chmod 0664 /srv/image/app/config.toml
cp "$CONFIG" /srv/state/config.toml
cp "$SECRET" /srv/state/value
chmod 0666 /srv/state/config.toml /srv/state/value
{AS} mkdir -m 700 /srv/state/brokerctl
mount --bind /srv/state/brokerctl /srv/own
mount -t tmpfs -o mode=1777 tmp /tmp
exec {AS} "$@"
"""
RIGHT = {"BROKERCTL_CONFIG": "/srv/config/config.toml", "BROKERCTL_HOME": "/srv/own/brokerctl"}


def in_pod(
    machine: Machine,
    *words: str,
    mode: str = "0644",
    group: str = "",
    **how: Any,  # noqa: ANN401 - Machine.under's own
) -> Result:
    """Run brokerctl in a pod whose volumes have this mode and, with a group, an fsGroup."""
    config = os.path.join(machine.home, "pod.toml")
    write_private(config, CONFIG.format(url=machine.issuer.url, secret="/srv/secret/value"))
    environ = {
        "CONFIG": config,
        "SECRET": machine.secret,
        "MODE": mode,
        "GROUP": group,
        "GROUPS_OF": group or "0",
        "HOME": "/",
        "TMPDIR": "/tmp",
        **RIGHT,
        **how.pop("env", {}),
    }
    wrapper = ["unshare", "--mount", "sh", "-c", POD, "sh"]
    require_mounts(machine, ["unshare", "--mount", "sh", "-c", "mount -t tmpfs x /srv"])
    return machine.under(wrapper, *words, env=environ, cwd="/", **how)


@pytest.mark.parametrize(
    ("mode", "group"),
    [("0644", ""), ("0444", ""), ("0777", ""), ("0440", "2000"), ("0666", "2000")],
)
@pytest.mark.parametrize("home", ["/srv/own/brokerctl", "/srv/own", "/tmp/brokerctl-pod"])
def test_the_pod_that_works(machine: Machine, mode: str, group: str, home: str) -> None:
    """Configuration of a ConfigMap, the secret of a Secret, the store in a folder of one's own."""
    env = {"BROKERCTL_HOME": home}
    answers(in_pod(machine, "get", "service", mode=mode, group=group, env=env))


class Wrong(NamedTuple):
    """What is set in a pod, the exit code, and what the hint has to name there."""

    env: dict[str, str]
    code: int
    hint: str


APP = "/srv/image/app"
WRONG = {
    "the emptyDir itself": Wrong({"BROKERCTL_HOME": "/srv/state"}, 6, "BROKERCTL_HOME"),
    "below an emptyDir": Wrong({"BROKERCTL_HOME": "/srv/state/mine"}, 6, "BROKERCTL_HOME"),
    "no home": Wrong({"BROKERCTL_HOME": ""}, 6, "BROKERCTL_HOME"),
    "an image's home": Wrong({"BROKERCTL_HOME": "", "HOME": APP}, 6, "BROKERCTL_HOME"),
    "a read-only root": Wrong({"BROKERCTL_HOME": "/srv/config/state"}, 6, "BROKERCTL_HOME"),
    "an image's file": Wrong({"BROKERCTL_CONFIG": f"{APP}/config.toml"}, 2, "BROKERCTL_CONFIG"),
    "a copied file": Wrong({"BROKERCTL_CONFIG": "/srv/state/config.toml"}, 2, "BROKERCTL_CONFIG"),
    "a copied key": Wrong(
        {"BROKERCTL_KEY_FILE": "/srv/state/value", "BROKERCTL_KEEPER": "env"}, 6, "Secret"
    ),
}


@pytest.mark.parametrize("group", ["", "2000"])
@pytest.mark.parametrize("name", WRONG)
def test_what_can_t_work_is_told(machine: Machine, name: str, group: str) -> None:
    """Refused with what works in a pod, and never with a chmod that nobody there can do."""
    env, code, hint = WRONG[name]
    for where in ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {}):
        done = in_pod(machine, "get", "service", group=group, env={**env, **where})
        refused(done, code)
        assert "chmod" not in done.stderr
        if where:
            assert hint in done.stderr.split("brokerctl: hint: ")[1]


def test_a_copied_secret(machine: Machine) -> None:
    """A secret that lies where others can write to it is refused with where to mount it from."""
    config = os.path.join(machine.home, "copied.toml")
    write_private(config, CONFIG.format(url=machine.issuer.url, secret="/srv/state/value"))
    env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "CONFIG": config}
    done = in_pod(machine, "get", "service", env=env)
    refused(done, 2)
    assert "mount it from a Secret with defaultMode: 0440" in done.stderr
