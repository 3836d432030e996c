"""Vault's protocol, and what its set-up writes."""

from __future__ import annotations

import pytest

from brokerctl.errors import UsageError
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.edit.toml_hcl import find_labels, has_key
from brokerctl.helpers.setups import Part
from brokerctl.helpers.vault import Vault, find_unchecked
from brokerctl.helpers.vault.setup import VaultSetup
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

ADDRESS = {"VAULT_ADDR": "https://vault.example.com:8200"}
PLACE = SetupFile("/home/alice/.vault")
PART = Part(
    "vault",
    (PROFILE.replace(hosts=("https://vault.example.com:8200",)),),
    "/opt/b/brokerctl-vault",
    {"HOME": "/home/alice"},
)


@pytest.mark.parametrize("words", [[], ["list"], ["get", "x"], ["x", "get"], ["Get"], [""]])
def test_other_words_are_no_request(words: list[str]) -> None:
    """The protocol has three."""
    with pytest.raises(MalformedError):
        Vault().read(words, b"", ADDRESS)


@pytest.mark.parametrize("environ", [{}, {"VAULT_ADDR": ""}, {"VAULT_TOKEN": "x"}])
def test_without_an_address_nothing_is_answered(environ: dict[str, str]) -> None:
    """Security: the program's own default is not ours to guess; `-address` may say otherwise."""
    assert Vault().read(["get"], b"", environ).reply == HelperReply()


def test_two_addresses_are_none() -> None:
    """Vault reads one of them and OpenBao both: either may be asking."""
    same = {**ADDRESS, "BAO_ADDR": ADDRESS["VAULT_ADDR"]}
    assert Vault().read(["get"], b"", same) == CredentialRequest(
        action="get", url=ADDRESS["VAULT_ADDR"]
    )
    with pytest.raises(MalformedError, match="two servers"):
        Vault().read(["get"], b"", {**ADDRESS, "BAO_ADDR": "https://bao.example.com"})


@pytest.mark.parametrize("name", ["VAULT_AGENT_ADDR", "BAO_AGENT_ADDR"])
def test_the_agent_is_the_server_that_gets_the_token(name: str) -> None:
    """Security: the program sends it there, whatever server the other variable names."""
    agent = {name: "https://agent.example.com"}
    assert Vault().read(["get"], b"", agent) == CredentialRequest(action="get", url=agent[name])
    with pytest.raises(MalformedError, match="two servers"):
        Vault().read(["get"], b"", {**ADDRESS, **agent})


@pytest.mark.parametrize("name", ["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"])
def test_an_unchecked_certificate_is_told_to_policy(name: str) -> None:
    """Security: only a profile that says `insecure_ok` gets a token then."""
    for value, is_insecure in (("true", True), ("1", True), ("yes?", True), ("0", False)):
        asked = Vault().read(["get"], b"", {**ADDRESS, name: value})
        assert asked.reply is None
        found = find_unchecked(asked, {**ADDRESS, name: value})
        assert found == (name if is_insecure else None), value


def test_openbao_s_address_does() -> None:
    """Alone it is as good."""
    asked = Vault().read(["get"], b"", {"BAO_ADDR": "https://bao.example.com"})
    assert asked == CredentialRequest(action="get", url="https://bao.example.com")


def test_the_token_has_no_newline() -> None:
    """It would be taken as part of it."""
    said = credential(Vault(), CredentialRequest(action="get"), ANSWER, PROFILE)
    assert said == HelperReply(stdout=TOKEN.encode())


def test_erase_is_for_whichever_token_it_is() -> None:
    """The protocol does not say which."""
    asked = Vault().read(["erase"], b"", ADDRESS)
    assert asked == CredentialRequest(action="forget", url=ADDRESS["VAULT_ADDR"])


def test_what_login_stores_is_not_kept() -> None:
    """And said, with an exit code that has `login` show its token."""
    said = Vault().read(["store"], b"hvs.foreign", ADDRESS).reply
    assert said is not None
    assert (said.exit_code, said.stdout) == (1, b"")
    assert said.note
    assert "foreign" not in said.note


@pytest.mark.parametrize("text", ["", "# mine\n", "// token_helper\n/* x */", "# a"])
def test_put_in_and_taken_out(text: str) -> None:
    """Byte for byte as before, and twice is once."""
    setup = VaultSetup()
    put = setup.put(PLACE, text, PART)
    assert 'token_helper = "/opt/b/brokerctl-vault"\n' in put
    assert setup.put(PLACE, put, PART) == put
    assert setup.take(PLACE, put) == text
    assert setup.take(PLACE, text) is None


@pytest.mark.parametrize(
    "text", ['token_helper = "/x"\n', '"token_helper" = "/x"', '{"token_helper": "/x"}', " {}"]
)
def test_another_helper_stays(text: str) -> None:
    """The key can be there once; and in JSON there is no place for our comments."""
    with pytest.raises(UsageError):
        VaultSetup().put(PLACE, text, PART)


@pytest.mark.parametrize("script", ["/a b/brokerctl-vault", "/a'b/brokerctl-vault", "/a$b/x"])
def test_a_path_that_a_shell_would_read_otherwise(script: str) -> None:
    """Old versions have one run it."""
    with pytest.raises(UsageError, match="takes no spaces"):
        VaultSetup().lines(PART._replace(script=script))


def test_no_hosts_is_nothing_to_ask_for() -> None:
    """Said, before anything is written."""
    with pytest.raises(UsageError, match="nothing to ask for"):
        VaultSetup().lines(PART._replace(profiles=(PROFILE,)))


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/home/alice/.vault"),
        ({"VAULT_CONFIG_PATH": "/etc/v"}, "/etc/v"),
        ({"VAULT_CONFIG_PATH": "~/v/config"}, "/home/alice/v/config"),
    ],
)
def test_where_its_configuration_is(environ: dict[str, str], path: str) -> None:
    """As the program itself looks for it."""
    assert VaultSetup().path({"HOME": "/home/alice", **environ}) == path


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("key = 1", True),
        ("\n\tkey {\n", True),
        ('"key" = 1', True),
        ("a = 1 # x\nkey=1", True),
        ('a = "x \\" #"\nkey = 1', True),
        ("# key", False),
        ("a = 1 // key = 2", False),
        ("/* key\nkey */", False),
        ('a = "the key"', False),
        ("keys = 1\nmy-key = 2\nkey-2 = 3", False),
        ("", False),
    ],
)
def test_a_key_is_found_outside_comments_and_strings(text: str, has: bool) -> None:  # noqa: FBT001 - a column of the table
    """A comment is no setting, and a string no comment."""
    assert has_key(text, "key") is has


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('key "a.example" {\n}\nkey b {}\n', {"a.example", "b"}),
        ('# key "a"\nother "b" {}\na = "key"', set()),
        ('{"key": {"a": {}, "b": {}}, "x": {}}', {"a", "b"}),
        ('{"key": ["a"]}', set()),
        ('{"key": ', set()),
        ("{}", set()),
        ("", set()),
    ],
)
def test_the_labels_of_blocks(text: str, labels: set[str]) -> None:
    """In HCL or in JSON; what is broken has none."""
    assert find_labels(text, "key") == labels
