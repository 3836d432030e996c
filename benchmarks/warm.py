"""The warm road against its budget: `get` answered from the store, as a ratio to U."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from common import Issuer, child_env, clean_install, paired, show, time_once, workplace

PROFILE = """
[profile.warm]
issuer = "{issuer}"
flow = "client_credentials"
client_id = "{client_id}"
client_auth = "client_secret_basic"
client_secret = {{ file = "{secret}" }}
scopes = [{scopes}]
hosts = ["https://git.example.com"]
"""
REQUEST = b"protocol=https\nhost=git.example.com\n\n"
# The budgets of design 9; BEFORE is of the commit before the start-up image.
TEXT, EXEC, BEFORE = 1.3, 1.15, 0.78


class Form(NamedTuple):
    """A way in, its script for `sh` or the static launcher: what lines of it end with, budgets."""

    name: str
    get: float
    link: float


SCRIPT = Form("", 1.2, 1.35)
LAUNCHER = Form(", launcher", 1.1, 1.1)


def set_up(home: Path, issuer: Issuer) -> dict[str, str]:
    """Write a profile for the issuer's confidential client and fetch the first token."""
    client = issuer.ready["clients"]["basic"]
    secret = home / "secret"
    secret.write_text(client)
    secret.chmod(0o600)
    folder = home / ".config/brokerctl"
    folder.mkdir(parents=True, mode=0o700)
    text = PROFILE.format(issuer=issuer.url, client_id="basic", secret=secret, scopes='"read"')
    (folder / "config.toml").write_text(text)
    (folder / "config.toml").chmod(0o600)
    return child_env(home)


def show_before(before: Path, get: list[str], folder: Path, issuer: Issuer, runs: int) -> bool:
    """Print what a `get` takes beside that of an earlier version, which has a home of its own."""
    homes = folder / "home", folder / "home-before"
    homes[1].mkdir(mode=0o700)
    env = set_up(homes[1], issuer)
    earlier = [str(before / "brokerctl"), "get", "warm"]
    time_once(earlier, env)
    ratios = paired(get, earlier, child_env(homes[0]), runs, other=env)
    return show("warm get", ratios, "of before", BEFORE)


def measure(bin_folder: Path, folder: Path, env: dict[str, str], runs: int, form: Form) -> bool:
    """Print what each kind of hand-out takes; return whether all are within their budgets."""
    program = str(bin_folder / "brokerctl")
    unit = [str(bin_folder / "python"), "-I", "-c", ""]
    get = [program, "get", "warm"]
    time_once(get, env)
    time_once([program, "status"], env)  # writes the start-up image
    linked = folder / f"link{form.name}"
    linked.symlink_to(program)
    link = [str(linked), "get", "warm"]
    asked = folder / "request"
    asked.write_bytes(REQUEST)
    git = [str(bin_folder / "git-credential-brokerctl"), "get"]
    child = [program, "exec", "--keep", "-p", "warm", "--", "/bin/true"]
    met = show(f"warm get{form.name}", paired(get, unit, env, runs), "U", form.get)
    ratios = paired(link, unit, env, runs)
    met &= show(f"warm get through a symlink{form.name}", ratios, "U", form.link)
    ratios = paired([*get, "--json"], unit, env, runs)
    met &= show(f"warm get --json{form.name}", ratios, "U", TEXT)
    ratios = paired(git, unit, env, runs, stdin=str(asked))
    met &= show(f"warm git-credential-brokerctl get{form.name}", ratios, "U", TEXT)
    return met & show(f"exec start (shared){form.name}", paired(child, get, env, runs), "get", EXEC)


def main() -> int:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=60)
    parser.add_argument(
        "--bin", type=Path, help="a clean installation's bin, instead of making one"
    )
    parser.add_argument(
        "--launcher", type=Path, help="the same of one with the launcher, instead of making one"
    )
    parser.add_argument(
        "--before", type=Path, help="the bin of an earlier version, to be measured in the same run"
    )
    options = parser.parse_args()
    with workplace() as name:
        folder = Path(name)
        script = options.bin or clean_install(folder)
        launcher = options.launcher
        if launcher is None and shutil.which("gcc"):
            launcher = clean_install(folder, with_launcher=True)
        with Issuer(script, "--access-ttl", "3600") as issuer:
            home = folder / "home"
            home.mkdir(mode=0o700)
            env = set_up(home, issuer)
            met = measure(script, folder, env, options.runs, SCRIPT)
            if launcher:
                met &= measure(launcher, folder, env, options.runs, LAUNCHER)
            else:
                print("no gcc: the launcher was not measured")
            if options.before:
                get = [str(script / "brokerctl"), "get", "warm"]
                met &= show_before(options.before, get, folder, issuer, options.runs)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
