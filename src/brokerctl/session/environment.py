"""The child's environment: which variable holds which token, and what must not be inherited.

Security: every process of the same user can read a token in the environment in /proc/PID/environ
while the child lives: we can't prevent it, since execve(2) makes a process readable again. Other
users can't read it. `--file` keeps the token out of the environment.
"""

from __future__ import annotations

from brokerctl.broker.request import find_profile
from brokerctl.errors import UsageError
from brokerctl.model import NOT_BEARER, Reference, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerctl.model import AccessToken, Profile
    from brokerctl.secret import Secret
    from brokerctl.session import ExecRequest

# Security: what opens our store never reaches a child: BROKERCTL_KEY, BROKERCTL_KEY_FILE, ….
_OURS = ("BROKERCTL_KEY", "BROKERCTL_PASSPHRASE")
_PLACES = frozenset(("BROKERCTL_CONFIG", "BROKERCTL_HOME"))
_SECRETS = ("env", "file", "keyring", "store", "command")  # what a reference to a secret can be
# What `--clean-env` keeps: without these most programs don't work.
_KEPT = frozenset(
    ("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
)
_KEPT_START = "LC_"
# Read by AWS's tools, in the order of aws_credentials.WORDS; and what some take instead.
AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AWS_OTHERS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN")
# What AWS's SDKs take credentials from before they ask the endpoint of `--aws`.
BEFORE_AWS = frozenset(
    (
        *(*AWS_VARIABLES, *_AWS_OTHERS, "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    )
)
_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_OTHER = _FIRST | frozenset("0123456789")


class ChildVariable(Value):
    """One profile of a session, and the variables that get its token or its file's path."""

    profile: Profile
    variables: tuple[str, ...]
    files: tuple[str, ...]


def plan_variables(
    ask: ExecRequest, profiles: Mapping[str, Profile], default: str | None
) -> list[ChildVariable]:
    """Decide which variable gets which profile's token; raises UsageError.

    `--env` and `--file` name a profile as `-p` does; then its default variable is not set.
    """
    names = names_of(ask, default)
    if not names:
        raise UsageError("no profile named", hint="run 'brokerctl exec -p PROFILE -- COMMAND'")
    wanted = []
    for name in names:
        profile = find_profile(profiles, name)
        variables = tuple(variable for variable, of in ask.env if of == name)
        files = tuple(variable for variable, of in ask.files if of == name)
        if not variables and not files and not ask.serves and name != ask.aws:
            variables = default_variables(profile)
        wanted.append(ChildVariable(profile=profile, variables=variables, files=files))
    _check_names(wanted)
    if ask.aws is not None:
        _refuse_before_aws(wanted)
    return wanted


def names_of(ask: ExecRequest, default: str | None) -> tuple[str, ...]:
    """Return the names of the profiles of a session, known or not, each once."""
    names = [*ask.profiles, *(name for _, name in (*ask.env, *ask.files))]
    names += [] if ask.aws is None else [ask.aws]
    if not names and default:
        names = [default]
    return tuple(dict.fromkeys(names))


def default_variables(profile: Profile) -> tuple[str, ...]:
    """Return the default variables of a profile: one, or three for AWS credentials."""
    if profile.traits.token_type == NOT_BEARER and not profile.env:
        return AWS_VARIABLES
    return (default_variable(profile),)


def put_token(environ: dict[str, str], wanted: ChildVariable, value: Secret) -> None:
    """Put a token into its variables; AWS credentials replace the choice of an AWS profile."""
    if wanted.variables != AWS_VARIABLES:
        environ.update((variable, value.reveal()) for variable in wanted.variables)
        if wanted.profile.env in wanted.variables:
            environ.update(wanted.profile.env_beside)
        return
    from brokerctl.oauth import aws_credentials  # noqa: PLC0415 - all others have one word

    words = aws_credentials.words_of(value)
    environ.update(zip(AWS_VARIABLES, (words[name] for name in aws_credentials.WORDS), strict=True))
    for name in _AWS_OTHERS:
        environ.pop(name, None)


def secrets_of(tokens: Iterable[AccessToken]) -> list[str]:
    """Return what is masked: each token, and each value within AWS credentials."""
    found = []
    for token in tokens:
        found.append(token.value.reveal())
        if token.token_type == NOT_BEARER:
            from brokerctl.oauth import aws_credentials  # noqa: PLC0415 - all others have one word

            if aws_credentials.is_value(token.value):  # else a JWT that an exchange brought
                found += aws_credentials.words_of(token.value).values()
    return found


def refuse_endless(ask: ExecRequest, token: AccessToken) -> None:
    """Raise UsageError for a token that outlives its session, unless it is asked for so."""
    if token.expires_at is None and ask.is_own is not False:
        raise UsageError(
            f"the token of '{token.profile}' never expires: it is the grant itself",
            hint="use --keep to give it to the command all the same",
        )


def default_variable(profile: Profile) -> str:
    """Return the default variable of a profile: its `env`, else `<PROFILE>_TOKEN`."""
    if profile.env:
        return profile.env
    upper = profile.name.upper()
    return "".join(char if char in _OTHER else "_" for char in upper) + "_TOKEN"


def _check_names(wanted: list[ChildVariable]) -> None:
    taken: dict[str, str] = {}
    for one in wanted:
        for variable in (*one.variables, *one.files):
            name = one.profile.name
            hint = f"write --env NAME={name}"
            if variable[:1] not in _FIRST or not _OTHER.issuperset(variable):
                raise UsageError(f"no variable can be named '{variable}'", hint=hint)
            if variable.startswith(_OURS):
                raise UsageError(f"'{variable}' is brokerctl's own and never set", hint=hint)
            if variable in taken:
                raise UsageError(
                    f"'{taken[variable]}' and '{name}' both want {variable}", hint=hint
                )
            taken[variable] = name


def _refuse_before_aws(wanted: Iterable[ChildVariable]) -> None:
    for one in wanted:
        found = BEFORE_AWS.intersection(one.variables)
        if found:
            name = one.profile.name
            raise UsageError(
                f"AWS's SDKs would take {min(found)} of '{name}', and not ask for what --aws has",
                hint=f"write --env NAME={name}",
            )


def inherited(
    environ: Mapping[str, str],
    profiles: Iterable[Profile],
    *,
    is_clean: bool,
    has_socket: bool = False,
    has_aws: bool = False,
) -> dict[str, str]:
    """Return what the child inherits: nothing that opens our store or is a profile's secret.

    `has_socket`: it asks us, so it need not know where our configuration and store are either.
    `has_aws`: its SDKs are to ask an endpoint of ours, and to take no credentials from elsewhere.
    """
    references = [
        value
        for profile in profiles
        for value in profile.as_dict().values()
        if isinstance(value, Reference)
    ]
    secrets = {one.target[0] for one in references if one.kind == "env"}
    if any(one.kind not in _SECRETS for one in references):
        from brokerctl.config.platforms import variables_of  # noqa: PLC0415 - most have no identity

        secrets |= variables_of(references)
    return {
        name: value
        for name, value in environ.items()
        if name not in secrets
        and not name.startswith(_OURS)
        and not (has_socket and name in _PLACES)
        and not (has_aws and name in BEFORE_AWS)
        and (not is_clean or name in _KEPT or name.startswith(_KEPT_START))
    }
