"""Policies to begin with, and the cases that show what they say: `policy init` prints them."""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.model import Value


class Starter(Value):
    """One policy to begin with, and its file of cases."""

    policy: str
    cases: str


_PROFILE = """[profile.{name}]
issuer = "https://issuer.example"
flow = "code"
client_id = "example"
scopes = ["admin", "read", "write"]
"""
_HEAD = """# For 'brokerctl policy test'. The profiles are examples, and exist here alone.

"""

_AGENTS = """# Rules for requests that name an agent: 'brokerctl policy explain NAME --agent coder'.

[policy]
default = "profile" # what no rule matches is allowed: people and their tools, as before

[[policy.rule]]
name = "agents read"
when = { agent = "*" }
effect = "allow"
scopes = ["read"] # the scopes of yours that only read
max_ttl = "15m"

[[policy.rule]]
name = "agents ask at night"
when = { agent = "*", time = "20:00-06:00" } # UTC
effect = "ask"
scopes = ["read"]
max_ttl = "5m"
reason = "an agent asks while nobody is at work"

[[policy.rule]]
name = "no agent in production"
when = { agent = "*", profile = ["production", "production-*"] }
effect = "deny"
reason = "agents stay out of production"
"""

_AGENTS_CASES = (
    _HEAD
    + _PROFILE.format(name="work")
    + "\n"
    + _PROFILE.format(name="production")
    + """
[[case]]
name = "a person has all"
request = { profile = "production" }
expect = { effect = "allow", rule = "within the profile", scopes = ["admin", "read", "write"] }

[[case]]
name = "an agent reads"
request = { profile = "work" }
facts = { agent = "helper", time = 2026-01-05T12:00:00Z }
expect = { effect = "narrow", rule = "agents read", scopes = ["read"], max_ttl = "15m" }

[[case]]
name = "an agent does not write"
request = { profile = "work", scopes = ["write"] }
facts = { agent = "helper" }
expect = { effect = "deny", rule = "agents read" }

[[case]]
name = "at night a person is asked"
request = { profile = "work" }
facts = { agent = "helper", time = 2026-01-05T03:00:00Z }
expect = { effect = "ask", rule = "agents ask at night", layer = "user", max_ttl = "5m" }

[[case]]
name = "never in production"
request = { profile = "production", scopes = ["read"] }
facts = { agent = "helper" }
expect = { effect = "deny", reason = "agents stay out of production" }
"""
)

_CI = """# Rules for CI jobs, for a configuration that only jobs read: what no rule names is denied.
# Claims are proven by the platform. A repository is named by its id, which nobody else can get.

[policy]
default = "deny"

[[policy.rule]]
name = "main builds"
when = { ci = "github", repository_id = "1234567", branch = "main" }
effect = "allow"
max_ttl = "15m"

[[policy.rule]]
name = "production deploys"
when = { ci = "github", repository_id = "1234567", environment = "production" }
effect = "allow"
max_ttl = "5m"

[[policy.rule]]
name = "no pull request"
when = { event = ["pull_request", "pull_request_target"] }
effect = "deny"
reason = "what a pull request changes has not been reviewed"
"""

_CI_CASES = (
    _HEAD
    + """[profile.deploy]
issuer = "https://issuer.example"
flow = "token_exchange"
client_id = "example"
identity = "auto"
scopes = ["deploy"]

[[case]]
name = "main builds"
request = { profile = "deploy" }
facts = { ci = "github", repository_id = "1234567", branch = "main", event = "push" }
expect = { effect = "narrow", rule = "main builds", max_ttl = "15m" }

[[case]]
name = "production deploys from a tag"
request = { profile = "deploy" }
facts = { ci = "github", repository_id = "1234567", environment = "production" }
expect = { effect = "narrow", rule = "production deploys", max_ttl = "5m" }

[[case]]
name = "another branch gets nothing"
request = { profile = "deploy" }
facts = { ci = "github", repository_id = "1234567", branch = "topic" }
expect = { effect = "deny", rule = "default" }

[[case]]
name = "another repository gets nothing"
request = { profile = "deploy" }
facts = { ci = "github", repository_id = "1", branch = "main" }
expect = { effect = "deny", rule = "default" }

[[case]]
name = "a pull request gets nothing"
request = { profile = "deploy" }
facts = { ci = "github", repository_id = "1234567", branch = "main", event = "pull_request" }
expect = { effect = "deny", rule = "no pull request" }

[[case]]
name = "a fork gets nothing"
request = { profile = "deploy" }
facts = { ci = "github", repository_id = "1234567", branch = "main", fork = true }
expect = { effect = "deny", rule = "no forks", layer = "built-in" }
"""
)

_TEAM = """# Rules for the machines of a team: production wants a purpose and a login of today.
# What no rule names is denied, so name your profiles in the rules.

[policy]
default = "deny"

[[policy.rule]]
name = "development"
when = { profile = ["work", "dev-*", "test-*"] }
effect = "allow"
max_ttl = "8h"

[[policy.rule]]
name = "production"
when = { profile = ["production", "production-*"], purpose = true, login_age = "12h" }
effect = "allow"
max_ttl = "15m"

[[policy.rule]]
name = "administration"
when = { profile = ["production", "production-*"], scope = ["admin", "admin:*"] }
effect = "ask"
reason = "this can change who has access"
max_ttl = "5m"

[[policy.rule]]
name = "no production at night"
when = { profile = ["production", "production-*"], time = "22:00-05:00" } # UTC
effect = "deny"
reason = "nobody is there to see what goes wrong"
"""

_TEAM_CASES = (
    _HEAD
    + _PROFILE.format(name="work")
    + "\n"
    + _PROFILE.format(name="production")
    + """
[[case]]
name = "development is free"
request = { profile = "work" }
expect = { effect = "narrow", rule = "development", max_ttl = "8h" }

[[case]]
name = "production with a purpose"
request = { profile = "production", scopes = ["read"], purpose = "incident 42" }
facts = { login_age = "1h" }
expect = { effect = "narrow", rule = "production", scopes = ["read"], max_ttl = "15m" }

[[case]]
name = "production without a purpose"
request = { profile = "production", scopes = ["read"] }
facts = { login_age = "1h" }
expect = { effect = "deny", rule = "default", layer = "user" }

[[case]]
name = "production with a login of last week"
request = { profile = "production", scopes = ["read"], purpose = "incident 42" }
facts = { login_age = "7d" }
expect = { effect = "deny", rule = "default" }

[[case]]
name = "administration is asked for"
request = { profile = "production", scopes = ["admin"], purpose = "incident 42" }
facts = { login_age = "1h" }
expect = { effect = "ask", rule = "administration", max_ttl = "5m" }

[[case]]
name = "not at night"
request = { profile = "production", scopes = ["read"], purpose = "incident 42" }
facts = { login_age = "1h", time = 2026-01-05T23:00:00Z }
expect = { effect = "deny", rule = "no production at night" }
"""
)

STARTERS = {
    "agents": Starter(policy=_AGENTS, cases=_AGENTS_CASES),
    "ci": Starter(policy=_CI, cases=_CI_CASES),
    "team": Starter(policy=_TEAM, cases=_TEAM_CASES),
}


def get_starter(name: str) -> Starter:
    """Return the policy of a name; UsageError if there is none."""
    if name not in STARTERS:
        raise UsageError(f"no policy '{name[:80]}'", hint=f"one of {', '.join(STARTERS)}")
    return STARTERS[name]
