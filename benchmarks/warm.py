"""The warm road against its budget: `get` answered from the store, as a ratio to U."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

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
GET, TEXT, LINK, EXEC, BEFORE = 1.2, 1.3, 1.35, 1.15, 0.78


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


def main() -> int:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=60)
    parser.add_argument(
        "--bin", type=Path, help="a clean installation's bin, instead of making one"
    )
    parser.add_argument(
        "--before", type=Path, help="the bin of an earlier version, to be measured in the same run"
    )
    options = parser.parse_args()
    with workplace() as name:
        folder = Path(name)
        bin_folder = options.bin or clean_install(folder)
        with Issuer(bin_folder, "--access-ttl", "3600") as issuer:
            home = folder / "home"
            home.mkdir(mode=0o700)
            env = set_up(home, issuer)
            unit = [str(bin_folder / "python"), "-I", "-c", ""]
            get = [str(bin_folder / "brokerctl"), "get", "warm"]
            time_once(get, env)
            time_once([str(bin_folder / "brokerctl"), "status"], env)  # writes the start-up image
            linked = folder / "link"
            linked.symlink_to(bin_folder / "brokerctl")
            met = show("warm get", paired(get, unit, env, options.runs), "U", GET)
            link = [str(linked), "get", "warm"]
            met &= show(
                "warm get through a symlink", paired(link, unit, env, options.runs), "U", LINK
            )
            get_json = [*get, "--json"]
            met &= show("warm get --json", paired(get_json, unit, env, options.runs), "U", TEXT)
            asked = folder / "request"
            asked.write_bytes(REQUEST)
            git = [str(bin_folder / "git-credential-brokerctl"), "get"]
            ratios = paired(git, unit, env, options.runs, stdin=str(asked))
            met &= show("warm git-credential-brokerctl get", ratios, "U", TEXT)
            child = [
                str(bin_folder / "brokerctl"),
                "exec",
                "--keep",
                "-p",
                "warm",
                "--",
                "/bin/true",
            ]
            met &= show("exec start (shared)", paired(child, get, env, options.runs), "get", EXEC)
            if options.before:
                met &= show_before(options.before, get, folder, issuer, options.runs)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
