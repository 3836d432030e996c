"""The commands of two platforms as scripts: `buildkite-agent oidc` and `circleci run oidc`.

Spelling and behaviour are those of the agent's source (github.com/buildkite/agent, clicommand/
oidc_request_token.go: `POST jobs/JOB/oidc/tokens`, the token on stdout, a failure is exit 1 and one
line on stderr) and of circleci.com/docs/oidc-tokens-with-custom-claims (`circleci run oidc get
--claims '{"aud": …}'`, the token on stdout; `--root-issuer` is known from twine's library `id`,
which asks for it). What the platform's service answers in place of JSON is printed as it is.
"""

from __future__ import annotations

import os
import stat
import sys

# The endpoint and what was asked for are read from the words; no proxy and no library of a venv.
_COMMON = """#!{python} -I
import argparse, http.client, json, os, sys
from urllib.parse import urlsplit

def ask(path, body, **headers):
    link = http.client.HTTPConnection(urlsplit({url!r}).netloc, timeout=600)
    kind = {{"Content-Type": "application/json"}}
    try:
        link.request("POST", path, json.dumps(body), kind | headers)
        answer = link.getresponse()
        data = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"fatal: could not obtain OIDC token: {{error}}")
    if answer.status != 200:
        sys.exit(f"fatal: could not obtain OIDC token: {{answer.status}} {{data}}")
    try:
        found = json.loads(data)["token"]
    except (ValueError, KeyError, TypeError):
        found = data
    print(found if isinstance(found, str) else "\\n".join(found))
"""

_BUILDKITE = """
words = argparse.ArgumentParser("buildkite-agent", allow_abbrev=False)
commands = words.add_subparsers(required=True).add_parser("oidc").add_subparsers(required=True)
request = commands.add_parser("request-token", allow_abbrev=False)
for name in ("audience", "lifetime", "job", "subject-claim", "format"):
    request.add_argument(f"--{name}", default="")
request.add_argument("--claim", action="append")
request.add_argument("--skip-redaction", action="store_true")
given = words.parse_args()
job = given.job or os.environ.get("BUILDKITE_JOB_ID")
if not job:
    sys.exit("fatal: Missing job.")
token = os.environ.get("BUILDKITE_AGENT_ACCESS_TOKEN", "")
body = {"audience": given.audience, "claims": given.claim, "subject_claim": given.subject_claim}
ask(f"/buildkite/v3/jobs/{job}/oidc/tokens", body, Authorization=f"Token {token}")
"""

_CIRCLECI = """
words = argparse.ArgumentParser("circleci", allow_abbrev=False)
run = words.add_subparsers(required=True).add_parser("run").add_subparsers(required=True)
get = run.add_parser("oidc").add_subparsers(required=True).add_parser("get", allow_abbrev=False)
get.add_argument("--claims", default="{}")
get.add_argument("--root-issuer", action="store_true")
given = words.parse_args()
job = os.environ.get("CIRCLE_WORKFLOW_JOB_ID", "")
body = {"claims": json.loads(given.claims), "root_issuer": given.root_issuer}
ask(f"/circleci/oidc/{job}", body)
"""


def write_executables(folder: str, url: str) -> str:
    """Write both commands, which ask the platform service at `url`; return the folder."""
    for name, text in (("buildkite-agent", _BUILDKITE), ("circleci", _CIRCLECI)):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(_COMMON.format(python=sys.executable, url=url) + text)
        os.chmod(path, stat.S_IRWXU)
    return folder
