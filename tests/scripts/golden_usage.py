"""Slips of the command line, and every way in which a configuration can be wrong."""

# ruff: noqa: E501 - values that have no place to be cut
from __future__ import annotations

from tests.scripts.golden_room import Case

DOWN = "http://127.0.0.1:9"  # nobody listens there: the port of `discard`
CI = f"""[profile.ci]
issuer = "{DOWN}"
flow = "client_credentials"
client_id = "ci"
client_secret = {{ env = "CI_SECRET" }}
scopes = ["read"]
hosts = ["https://git.example.com", "https://*.wild.example.com"]
"""
BASE = f"""{CI}
[profile.me]
issuer = "https://issuer.example"
flow = "code"
client_id = "app"
scopes = ["openid", "read"]
hosts = ["https://me.example.com", "https://tie.example", "https://tie.example/index"]

[profile.other]
issuer = "https://issuer.example"
flow = "code"
client_id = "app2"
env = "ME_TOKEN"
hosts = ["https://tie.example", "https://tie.example/index"]
google = {{ pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool-1/providers/prov-1" }}

[profile.role]
flow = "aws_web_identity"
aws = {{ role = "arn:aws:iam::123456789012:role/x", endpoint = "{DOWN}" }}
exchange = {{ subject = {{ profile = "me" }} }}
"""
COMMANDS = (
    *("login", "get", "exec", "revoke", "status", "trust", "unlock", "lock", "doctor", "demo"),
    *("audit", "audit log", "audit verify", "audit tokens", "audit repair"),
    *("profile", "profile add", "profile list", "profile show", "profile edit", "profile remove"),
    *("profile secret", "profile schema"),
    *("store", "store check", "store backup", "store restore", "store rekey", "store gc"),
    "store key",
    *("helper", "helper install", "helper uninstall", "helper list", "helper import"),
    *("helper export", "helper kept", "helper forget"),
)
SLIPS = """
nope | polcy | statu | policy nope | session list | approve x | --no-such | get --help --no-such
get | get nope | get ci me | get ci --for https://git.example.com | get --for https://nobody.example
get --for http://git.example.com | get --for nonsense | get --for https://u:p@git.example.com/x
get --for https://tie.example/x | get ci --format nope | get ci --json --format env
get ci --min-ttl x | get ci --min-ttl 5 | get ci --min-ttl 5w | get ci --scope | get ci --ttl 5m
get me --format netrc | get '' | get -- | get ci --subject ''
login | login nope | login me --client-id x | login me --profile x | login me --port 0x
login me --port 70000 | login me --wait x | login me --flow nope | login https://new.example
login http://new.example --client-id x | login https://new.example --client-id x --profile me
login https://new.example --client-id x --profile BAD | login me --acr x | login me --ci | login ci
exec | exec -- | exec -p ci | exec -p ci true | exec -p nope -- true | exec -p -- true
exec -p ci --revoke --keep -- true | exec -p ci --ttl x -- true | exec -p ci --env X -- true
exec -p ci --env =ci -- true | exec -p ci --env 1X=ci -- true | exec -p ci --file X -- true
exec -p ci --env BROKERCTL_X=ci -- true | exec -p me -p other -- true | exec -- true
exec -p ci --approve -- true | exec -p ci --sandbox -- true | exec -p ci --nope -- true
exec -p ci --mask --no-mask -- true | exec -p ci --subject= -- true | get ci --subject=
revoke ci --subject= | login ci --subject=
revoke | revoke nope | revoke --all me | revoke me --kept | revoke me --subject ''
status x | audit log --since x | audit log --limit x | audit log --limit -1 | audit log x
audit log --until 2026-13-01 | audit verify --against x | audit repair --accept
audit repair --reason x | audit nope | audit show | audit tail | audit log --profile
profile add | profile add BAD | profile add ci | profile add new | profile add new --preset nope
profile add new --issuer http://x.example --client-id x | profile add new --set x
profile add new --issuer https://x.example --client-id x --set nope=1
profile add new --issuer https://x.example --client-id x --set max_ttl=5
profile show | profile show nope | profile show ci --for https://x.example
profile show --for nonsense | profile edit | profile edit ci | profile edit nope --set env=X
profile edit ci --set nope=1 | profile edit ci --set env | profile edit ci --set max_ttl=x
profile edit ci --unset env | profile edit ci --unset nope | profile edit ci --unset issuer
profile edit ci --set client_secret=hunter2 | profile remove | profile remove nope
profile secret | profile secret BAD --stdin | profile secret ci | profile secret ci --remove
profile secret ci --stdin | profile list x | profile nope
trust HOME | trust HOME/nope | trust --remove HOME | trust --list x
unlock --for x | unlock --for 0s | lock x
store check x | store backup | store backup HOME/a | store backup HOME/config.toml
store restore | store restore HOME/nope | store restore HOME/config.toml | store rekey --to nope
store rekey --to env | store gc x | store nope
helper nope | helper install | helper install nope | helper install git | helper install aws
helper install kubernetes --profile ci | helper install gcp --profile ci | helper install pnpm
helper install azure | helper uninstall nope | helper list --for nonsense
helper list --for https://tie.example | helper import | helper import nope | helper import git
helper import docker | helper import netrc | helper export nope | helper export git
helper kept nope | helper forget | helper forget git | helper forget nope x.example
helper forget git x.example | helper forget git x.example --user u
demo --port x | doctor x
"""
# Asked for with `--json` too: their error is an object on stderr.
WITH_JSON = frozenset(
    """get nope|get ci me|get --for https://nobody.example|get --for https://tie.example/x
get ci --min-ttl x|login nope|login ci|login me --port 70000|login https://new.example|revoke
revoke nope|revoke --all me|status x|audit log --since x|audit log --limit x|audit repair --accept
profile show|profile show nope|profile show --for nonsense|trust HOME|trust --remove HOME
unlock --for x|unlock --for 0s|store check x|store backup|store backup HOME/config.toml
store restore HOME/nope|store restore HOME/config.toml|store rekey --to nope
helper install nope|helper install git|helper list --for nonsense|helper uninstall nope
helper kept nope|doctor x""".replace("\n", "|").split("|")
)


def slips() -> list[Case]:
    """Return every command with an option that it does not have, and what is listed above."""
    found = [Case(f"{command} --no-such") for command in COMMANDS]
    lists = [word.strip() for line in SLIPS.strip().splitlines() for word in line.split(" | ")]
    return found + [Case(words, json=words in WITH_JSON) for words in lists]


# A line of [profile.p] that can't be meant, in place of the right one of the same key.
RIGHT = {
    "issuer": '"https://issuer.example"',
    "flow": '"code"',
    "client_id": '"app"',
}
LINES = r"""
issuer = 5 | issuer = "http://issuer.example" | issuer = "https://issuer.example/?q"
issuer = "https://issuer.example/#f" | issuer = "https://u:hunter2@issuer.example"
issuer = "issuer.example" | issuer = "ftp://issuer.example" | issuer = "https://issuer.example:0"
issuer = "https://issuer.example:99999" | issuer = "https://-issuer.example"
issuer = "https://1.2.3" | issuer = "https://[::G]" | issuer = "https://ISSUER\\x"
issuer = "https://\u0261it.example" | issuer = "https://" | flow = "nope" | flow = 5
flow = "token_exchange" | flow = "client_credentials" | flow = "aws_web_identity"
client_id = "" | client_id = "\n" | client_id = 5 | client_auth = "nope"
client_auth = "tls_client_auth" | client_auth = "client_secret_basic"
client_auth = "private_key_jwt" | client_secret = "hunter2" | client_secret = {}
client_secret = { env = "1X" } | client_secret = { file = "relative" } | client_secret = { nope = 1 }
client_secret = { keyring = "x" } | client_secret = { store = "BAD" } | client_secret = { file = 5 }
client_secret = { command = [] } | client_secret = { command = "x" }
client_secret = { command = ["./x"] } | client_key = "hunter2" | scopes = "read" | scopes = [5]
scopes = ["a b"] | scopes = [""] | resource = ["x"] | resource = ["https://x#f"]
audience = "x" | audience = [""] | audience = ["x"]
hosts = ["http://x.example"] | hosts = ["https://x.example?q"] | hosts = ["https://x.example/%41"]
hosts = ["https://x.example/../y"] | hosts = ["https://*.example"] | hosts = ["https://a.*.example"]
hosts = ["https://x.example//y"] | hosts = "https://x.example" | username = "" | username = "a:b"
username = "a\nb" | username_match = "some" | env = "1X" | env = "PATH" | env = "LD_PRELOAD"
env = "http_proxy" | owner = "" | purpose = 5 | subject = "\u0007" | min_ttl = 5 | min_ttl = "5"
min_ttl = "0s" | max_ttl = "1w" | max_ttl = "99999999999d" | max_ttl = "-1s" | extra = 5
extra = { "a b" = "x" } | extra = { state = "x" } | extra = { x = 5 } | ca_file = "x" | ca_file = 5
timeout = "x" | login_wait = "" | lifetime = "0h" | exec = "both" | revoke_at_exit = "all"
refresh_ends_previous = 1 | grant_ended_errors = ["access_denied"] | grant_ended_errors = ["\n"]
allow_broader = "yes" | send_resource = 0 | insecure_ok = "no" | pkce_support = "none"
assertion_audience = "x" | token_endpoint = "http://x.example" | token_endpoint = "https://x#f"
jwks_uri = 5 | preset = "nope" | preset = 5 | preset = "github" | isuer = "x" | zzz = 1 | dpop = true
actor = "x" | azure = {} | aws = {} | exchange = {} | google = 5 | google = {} | google = { x = 1 }
google = { pool = "x" } | client_auth = "none"
"""
AWS_LINES = """
aws = 5 | aws = { x = 1 } | aws = {} | aws = { role = "x" } | aws = ROLE, session = "x y" }
aws = ROLE, duration = "1m" } | aws = ROLE, duration = true } | aws = ROLE, policy = "x" }
aws = ROLE, endpoint = "http://x.example" } | exchange = 5 | exchange = { x = 1 }
aws = { role = "arn:aws-cn:iam::123456789012:role/x" }
exchange = { actor = "x" } | exchange = { subject = "identity" } | exchange = { subject = 5 }
exchange = { subject = { file = "x" } } | exchange = { subject = { profile = "nope" } }
exchange = { subject = { profile = "p" } } | hosts = [] | max_ttl = "1h" | issuer = "https://x.example"
"""
ROLE = '{ role = "arn:aws:iam::123456789012:role/x"'
AWS = {
    "flow": '"aws_web_identity"',
    "aws": f"{ROLE} }}",
    "exchange": '{ subject = { file = "/x" } }',
}
FILES = (
    "[profile.p",
    "[profile.p]",
    "profile = 5",
    "[profile]\np = 5",
    "[profile.BAD]",
    "[profiles.p]",
    "x = 1\nx = 2",
    '[keys]\nkeeper = "nope"',
    '[keys]\nunlock_for = "0s"',
    "[keys]\nx = 1",
    "keys = 5",
    '[audit]\nrotate = "5"',
    "[audit]\naccept = 1",
    '[helpers]\nkeep = ["npm"]',
    '[helpers]\nkeep = "git"',
    "[policy]",
    "[store]",
    "x = 1e999999",
    "x = 2026-99-99",
    'x = "\\ud800"',
)


def configurations() -> list[Case]:
    """Return a configuration for each thing that can be wrong in it."""
    cases = []
    for text, right in ((LINES, RIGHT), (AWS_LINES, AWS)):
        for line in [
            word.strip() for row in text.strip().splitlines() for word in row.split(" | ")
        ]:
            said = line.replace("ROLE", ROLE)
            key = said.partition(" ")[0]
            lines = [f"{name} = {value}" for name, value in right.items() if name != key]
            cases.append(Case("profile list", "\n".join(["[profile.p]", said, *lines]) + "\n"))
    for key in RIGHT:
        lines = [f"{name} = {value}" for name, value in RIGHT.items() if name != key]
        cases.append(Case("profile list", "\n".join(["[profile.p]", *lines]) + "\n", json=True))
    cases += [Case("profile list", f"{text}\n") for text in FILES]
    # Whichever way the program comes in, the configuration is the same.
    wrong = FILES[0] + "\n"
    cases += [
        Case(command, wrong, json=not command.startswith("exec"))
        for command in ("get p", "exec -p p -- true", "status", "login p", "revoke p", "trust HOME")
    ]
    return cases
