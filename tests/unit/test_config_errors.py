"""What a configuration that can't be meant is told: file, line, column, nearest key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, Layers
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from brokerctl.config.plan import Plan

ENVIRON = {"HOME": "/home/someone"}
GOOD = '[profile.x]\nissuer = "https://a.example.com"\nflow = "code"\nclient_id = "c"\n'


def compiled(user: str, *, system: str | None = None, project: str | None = None) -> Plan:
    """Compile layers that are given as text."""
    texts = [("system", system), ("user", user), ("project", project)]
    files = tuple(
        Layer(label=label, path=f"/{label}.toml", content=text.encode())
        for label, text in texts
        if text is not None
    )
    return compile_layers(Layers(files=files), ENVIRON)


def refused(user: str, **layers: str) -> UsageError:
    """Return the error of a configuration that must have one."""
    with pytest.raises(UsageError) as caught:
        compiled(user, **layers)
    return caught.value


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("a =\n", "1:4: invalid value", None),
        ("a = 1\na = 2\n", "2:6: cannot overwrite a value", None),
        ("a = [1\n", "2:1: unclosed array", None),
        ("[profiles.x]\n", "1:1: unknown key 'profiles'", "did you mean 'profile'?"),
        ("[profile.x]\nisuer = 1\n", "2:1: unknown key 'isuer'", "did you mean 'issuer'?"),
        (GOOD + "  scope = []\n", "5:3: unknown key 'scope'", "did you mean 'scopes'?"),
        ("[keys]\nkeper = 'file'\n", "2:1: unknown key 'keper'", "did you mean 'keeper'?"),
        ("profile = 3\n", "1:1: profile must be a table", None),
        ("[profile]\nx = 3\n", "2:1: x must be a table", None),
        ("[keys]\nkeeper = 'magic'\n", "2:1: keeper: must be one of keyring,", None),
        ("[helpers]\nkeep = true\n", "2:1: keep: must be a list of strings", None),
        ("[helpers]\nkeep = ['npm']\n", "2:1: keep: must be one of git, docker", None),
        ("[audit]\nrotate = 5\n", "2:1: rotate: must be a string", None),
        ("[profile.'Ä']\n", "1:1: Ä: 'Ä' can't be a name", None),
        ("[profile.x]\nflow = 'code'\n", "1:1: profile 'x': issuer is missing", None),
        ("# empty\n[profile.x]\n", "2:1: profile 'x': issuer is missing", None),
        (GOOD + "scopes = 'a b'\n", "5:1: scopes: must be a list of strings", None),
        (GOOD + "scopes = ['a b']\n", "5:1: scopes: 'a b' is not one scope", None),
        (GOOD + "resource = ['/x']\n", "5:1: resource: '/x' is not an absolute URI", None),
        (GOOD + "resource = ['urn:x#y']\n", "5:1: resource: 'urn:x#y' is not", None),
        (GOOD.replace('"code"', "{}"), "3:1: flow: must be a string", None),
        (GOOD + "client_auth = [[]]\n", "5:1: client_auth: must be a string", None),
        (GOOD + "max_ttl = '1w'\n", "5:1: max_ttl: '1w' is not a duration", None),
        (GOOD + "max_ttl = '0s'\n", "5:1: max_ttl: must be longer than 0", None),
        (GOOD + "max_ttl = 60\n", "5:1: max_ttl: must be a string", None),
        (GOOD + "audience = ['x']\n", "5:1: audience does not go with the flow code", None),
        (GOOD + "audience = ['']\n", "5:1: audience: each must be 1 to 1024 printable", None),
        (GOOD + "audience = ['\u200b']\n", "5:1: audience: each must be 1 to 1024", None),
        (GOOD + "audience = 'x'\n", "5:1: audience: must be a list of strings", None),
        (GOOD + "send_resource = 1\n", "5:1: send_resource: must be true or false", None),
        (GOOD + "env = 'LD_PRELOAD'\n", "5:1: env: LD_PRELOAD is not a variable for", None),
        (GOOD + "env = 'https_proxy'\n", "5:1: env: https_proxy is not a variable for", None),
        (GOOD + "env = 'ALL_PROXY'\n", "5:1: env: ALL_PROXY is not a variable for", None),
        (GOOD + "env = 'A B'\n", "5:1: env: 'A B' is not the name of a variable", None),
        (GOOD + "owner = 'a\\nb'\n".replace("'", '"'), "5:1: owner: must be 1 to 200", None),
        (GOOD + 'username = "a\\nquit=1"\n', "5:1: username: must be 1 to 200 printable", None),
        (GOOD + 'username = "a\\u001b[2J"\n', "5:1: username: must be 1 to 200 printable", None),
        (GOOD + 'username = "a\\u202eb"\n', "5:1: username: must be 1 to 200 printable", None),
        (GOOD + "username = 'a:b'\n", "5:1: username: can't hold ':', which ends", None),
        (GOOD + "ca_file = 'ca.pem'\n", "5:1: ca_file: must be an absolute path", None),
        (GOOD + "extra = { state = 'x' }\n", "5:1: extra: state is sent by the protocol", None),
        (GOOD + "extra = { a = 1 }\n", "5:1: extra: 'a' is not a parameter", None),
        (GOOD + "hosts = ['http://a.com']\n", "5:1: hosts: http://a.com: plain http is", None),
        (GOOD + "token_endpoint = 'https://a/#x'\n", "5:1: token_endpoint: https://a/", None),
        (GOOD + "client_auth = 'client_secret_jwt'\n", "5:1: client_auth client_secret_jwt", None),
        (GOOD + "preset = 'gitthub'\n", "5:1: no preset 'gitthub'", "use one of github,"),
        (GOOD + "client_key = { file = 'k.pem' }\n", "5:1: client_key: must be an absolute", None),
        (GOOD + "client_secret = { command = 'x' }\n", "5:1: client_secret: must be a list", None),
        (GOOD + "client_secret = { command = ['./x'] }\n", "5:1: client_secret: must be an", None),
        (GOOD + "client_secret = { keyring = 'x' }\n", "5:1: client_secret: must be", None),
        (GOOD.replace("code", "password"), "3:1: flow: must be one of code, device,", None),
        (GOOD.replace("https", "http"), "2:1: issuer: http://a.example.com: plain http", None),
        (GOOD.replace(".com", ".com?x"), "2:1: issuer: https://a.example.com?...: an issuer", None),
    ],
)
def test_the_error_says_where_and_what(text: str, message: str, hint: str | None) -> None:
    """Each mistake is told with its place, and with the nearest word where there is one."""
    error = refused(text)
    assert error.message.startswith(f"/user.toml:{message}")
    assert error.exit_code == 2
    if hint:
        assert (error.hint or "").startswith(hint)


@pytest.mark.parametrize(
    "text",
    [
        "[store]\n",
        "[audit]\ncheckpoint = 'x'\n",
        "[audit]\naccept = 'x'\n",
        *(
            f"{GOOD}{key} = 'x'\n"
            for key in [
                "details",
                "dpop",
                "par",
                "actor",
            ]
        ),
        GOOD.replace("code", "static"),
        GOOD + "client_auth = 'tls_client_auth'\n",
    ],
)
def test_what_comes_later_is_refused_by_name(text: str) -> None:
    """A word whose room does not exist yet is never accepted and ignored."""
    assert refused(text).message.endswith("is not in this version")


@pytest.mark.parametrize("key", ["client_secret", "client_key"])
def test_a_literal_secret_is_refused_and_not_shown(key: str) -> None:
    """A secret in the file is an error that names the references and not the secret."""
    for value in ("'hunter2'", "{ hunter2 = 'hunter2' }", "{ env = 'A', file = '/hunter2' }"):
        error = refused(f"{GOOD}{key} = {value}\n")
        assert "hunter2" not in error.message + (error.hint or "")
        assert '{ env = "X" }' in (error.hint or "")


def test_an_issuer_is_never_normalised() -> None:
    """A trailing slash makes it another issuer, so it stays."""
    plan = compiled(GOOD.replace(".com", ".com/"))
    assert plan.profiles["x"].issuer == "https://a.example.com/"


def test_the_user_layer_is_above_the_system_layer() -> None:
    """A user's key wins over the system's; the others stay."""
    plan = compiled('[profile.x]\nowner = "me"\n', system=GOOD + 'owner = "them"\nenv = "X_T"\n')
    assert (plan.profiles["x"].owner, plan.profiles["x"].env) == ("me", "X_T")


def test_a_preset_fills_in_what_is_left_out() -> None:
    """A preset is below every file, and follows an issuer of one's own."""
    plan = compiled(
        '[profile.a]\npreset = "github"\nclient_id = "I"\nenv = "MINE"\n'
        '[profile.b]\npreset = "github"\nclient_id = "I"\nissuer = "https://g.corp/login/oauth"\n'
    )
    mine, corp = plan.profiles["a"], plan.profiles["b"]
    assert (mine.flow, mine.env, mine.refresh_ends_previous) == ("device", "MINE", True)
    assert dict(mine.endpoints)["token_endpoint"] == "https://github.com/login/oauth/access_token"
    assert corp.hosts == ("https://g.corp",)
    assert all(url.startswith("https://g.corp/") for _, url in corp.endpoints)


PROJECT_USER = GOOD + 'scopes = ["a", "b"]\nmax_ttl = "1h"\n'


def test_a_project_narrows() -> None:
    """A project chooses, narrows scopes beside the profile's own, and shortens."""
    project = 'default_profile = "x"\n[profile.x]\nscopes = ["b"]\nmax_ttl = "5m"\n'
    plan = compiled(PROJECT_USER, project=project)
    assert plan.default_profile == "x"
    assert plan.narrowed_scopes == {"x": ("b",)}
    assert plan.profiles["x"].scopes == ("a", "b")  # they name the grant
    assert plan.profiles["x"].max_ttl_s == 300


@pytest.mark.parametrize(
    "project",
    [
        '[profile.x]\nissuer = "https://evil.com"\n',
        '[profile.x]\nhosts = ["https://evil.com"]\n',
        '[profile.x]\nclient_secret = { command = ["sh"] }\n',
        '[profile.x]\nclient_key = { file = "/k" }\n',
        '[profile.x]\ntoken_endpoint = "https://evil.com"\n',
        '[profile.x]\nca_file = "/evil.pem"\n',
        '[profile.x]\nextra = { audience = "x" }\n',
        '[profile.x]\nresource = ["https://evil.com"]\n',
        '[profile.x]\npreset = "github"\n',
        '[profile.x]\nscopes = ["a", "c"]\n',
        "[profile.x]\nscopes = []\n",
        '[profile.x]\nmax_ttl = "2h"\n',
        '[profile.x]\nenv = "PATH"\n',
        '[profile.y]\nmax_ttl = "1m"\n',
        'default_profile = "y"\n',
        '[keys]\nkeeper = "file"\n',
        '[audit]\nrotate = "1KiB"\n',
        "x = 1\n",
    ],
)
def test_a_project_never_widens(project: str) -> None:
    """An issuer, host, command, key, endpoint or anything wider is refused, with its place."""
    assert refused(PROJECT_USER, project=project).message.startswith("/project.toml:")


@pytest.mark.parametrize(
    ("name", "is_fine"),
    [
        ("GITLAB_TOKEN", True),
        ("npm_config__authToken", True),
        ("API_KEY", True),
        ("CLIENT_SECRET", True),
        ("PGPASSWORD", True),
        ("MINE", True),  # as the user's own profile says
        ("EMAIL", False),
        ("GIT_AUTHOR_NAME", False),
        ("TOKEN_URL", False),
        ("KEYS", False),
        ("HTTPS_PROXY", False),
        ("BROKERCTL_KEY", False),
    ],
)
def test_a_project_names_variables_for_secrets_alone(name: str, is_fine: bool) -> None:  # noqa: FBT001 - a column
    """A token in EMAIL is the author of a commit: a project file can't choose such a variable."""
    user, project = GOOD + 'env = "MINE"\n', f'[profile.x]\nenv = "{name}"\n'
    if is_fine:
        assert compiled(user, project=project).profiles["x"].env == name
    else:
        assert name in refused(user, project=project).message


def test_scopes_of_nobody_can_t_be_narrowed() -> None:
    """Where a profile leaves its scopes to the issuer, naming some could be wider."""
    refused(GOOD, project='[profile.x]\nscopes = ["a"]\n')


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ('["invalid_code", "bad_refresh_token"]', ""),
        ('["slow_down"]', "slow_down does not say that a grant has ended"),
        ('["invalid_client"]', "invalid_client does not say that a grant has ended"),
        ('["a\\"b"]', "is not an error code"),
        ('"invalid_code"', "must be a list of strings"),
    ],
)
def test_what_ends_a_grant(codes: str, said: str) -> None:
    """A code that speaks of the client or the moment would end a grant that lives."""
    text = GOOD + f"grant_ended_errors = {codes}\n"
    if said:
        with pytest.raises(UsageError, match=said):
            compiled(text)
    else:
        assert compiled(text).profiles["x"].grant_ended_errors == (
            "bad_refresh_token",
            "invalid_code",
        )
