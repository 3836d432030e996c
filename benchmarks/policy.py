"""What rules cost a warm `get`: 1,000 of them and 500 profiles, against one of each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common import Issuer, clean_install, paired, show, time_once, workplace
from warm import set_up

MANY = 1.03  # the budget of design 9
HEAD = '\n[policy]\ndefault = "deny"\n'
RULE = """
[[policy.rule]]
name = "{name}"
effect = "{effect}"
when = {{ profile = "{profile}" }}
"""
PROFILE = """
[profile.p{number}]
issuer = "https://issuer-{number}.example.com"
flow = "device"
client_id = "client-{number}"
scopes = ["read", "write"]
hosts = ["https://git-{number}.example.com"]
"""


def policy(rules: int, profiles: int) -> str:
    """Return so many profiles and rules, with the warm profile's own among them."""
    text = [PROFILE.format(number=number) for number in range(profiles - 1)]
    text.append(HEAD)
    for number in range(rules - 1):
        effect, name = ("allow", "ask", "deny")[number % 3], f"p{number % (profiles - 1)}"
        text.append(RULE.format(name=f"rule {number}", effect=effect, profile=name))
    text.append(RULE.format(name="own", effect="allow", profile="warm"))
    return "".join(text)


def main() -> int:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=60)
    parser.add_argument(
        "--bin", type=Path, help="a clean installation's bin, instead of making one"
    )
    options = parser.parse_args()
    with workplace() as name:
        folder = Path(name)
        bin_folder = options.bin or clean_install(folder)
        with Issuer(bin_folder, "--access-ttl", "3600") as issuer:
            get = [str(bin_folder / "brokerctl"), "get", "warm"]
            envs = []
            for label, text in (("none", ""), ("one", policy(1, 1)), ("many", policy(1000, 500))):
                home = folder / label
                home.mkdir(mode=0o700)
                envs.append(set_up(home, issuer))
                with (home / ".config/brokerctl/config.toml").open("a") as file:
                    file.write(text)
                time_once(get, envs[-1])
            time_once([str(bin_folder / "brokerctl"), "status"], envs[0])  # writes the image
            none, one, many = envs
            show("one rule", paired(get, get, one, options.runs, other=none), "of none")
            ratios = paired(get, get, many, options.runs, other=one)
            met = show("1,000 rules and 500 profiles", ratios, "of one", MANY)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
