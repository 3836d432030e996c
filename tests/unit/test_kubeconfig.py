"""Our user in somebody else's kubeconfig: put in and taken out as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.helpers.kubernetes.kubeconfig import find_contexts, put_user, take_user, user_rows

OURS = user_rows("/opt/bin/brokerctl", "prod")
OTHER = "- name: admin\n  user:\n    token: x\n"
REWRITTEN = """\
- name: brokerctl
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args:
      - helper
      - kubernetes
      - --profile
      - prod
      command: /opt/bin/brokerctl
      env: null
      interactiveMode: Never
      provideClusterInfo: true
"""
TEXTS = {
    "empty": "",
    "blank": "\n \n",
    "comments": "# mine\n",
    "comments without an end": "# mine",
    "no users": "apiVersion: v1\nkind: Config\n",
    "no users, no end": "kind: Config",
    "none": "users: []\nkind: Config\n",
    "none, commented": "kind: Config\nusers: []  # none yet\n",
    "none, no end": "kind: Config\nusers: []",
    "none, CRLF": "kind: Config\r\nusers: []\r\nclusters: []\r\n",
    "null": "users: null\npreferences: {}\n",
    "tilde": "users: ~\n",
    "nothing": "users:\nkind: Config\n",
    "nothing, no end": "kind: Config\nusers:",
    "nothing but a comment": "users:  # mine\n# all of them\n",
    "a list": f"kind: Config\nusers:\n{OTHER}",
    "a list in the middle": f"# a\n---\nusers:\n{OTHER}# b\nkind: Config\n",
    "an indented list": "users:\n\n  # one\n  - user: {token: x}\n    name: admin\nkind: Config\n",
    "far in": "users:\n     -   name: admin\n         user:\n          token: x\n",
    "no end": f"users:\n{OTHER}".rstrip("\n"),
    "CRLF": f"kind: Config\nusers:\n{OTHER}".replace("\n", "\r\n"),
    "quoted": f'"kind": Config\n"users":\n{OTHER}',
    "a block of text": "users:\n- name: a\n  user:\n    exec:\n      installHint: |\n"
    "        - name: b\n\n        users:\n      command: x\ncontexts: []\n",
    "odd bytes": f"# \udcff\u2028\nusers:\n{OTHER}",
}
REFUSED = {
    "JSON": '{"users": []}\n',
    "flow": "{users: []}",
    "a flow list": "users: [{name: admin}]\n",
    "a flow list below": "users:\n  [{name: admin}]\n",
    "an anchor": f"users: &all\n{OTHER}",
    "an alias": "other: &x []\nusers: *x\n",
    "a tag": f"users: !!seq\n{OTHER}",
    "all of it indented": "  kind: Config\n  users: []\n",
    "both none and some": f"users: []\n{OTHER}",
    "twice": f"users:\n{OTHER}users: []\n",
    "two documents": f"users:\n{OTHER}---\nkind: Config\n",
    "an end": f"users:\n{OTHER}...\n",
    "a directive": "%YAML 1.1\n---\nusers: []\n",
    "a question": "? users\n: []\n",
    "no space": "users:[]\n",
    "a list of its own": OTHER,
    "a byte order mark": "\ufeffusers: []\n",
    "UTF-16": "u\0s\0e\0r\0s\0:\0\n\0",
    "another of our name": f"users:\n{OTHER.replace('admin', 'brokerctl')}",
    "another in quotes": f"users:\n{OTHER.replace('admin', chr(34) + 'brokerctl' + chr(34))}",
    "another the other way": "users:\n  - user: {}\n    name: 'brokerctl'  # mine\n",
    "another in a row": 'users:\n- {"name": "brokerctl", "user": {}}\n',
    "another below": "users:\n-\n  name: brokerctl\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_put_and_taken(name: str) -> None:
    """Afterwards the text is as before, and to put twice is to put once."""
    text = TEXTS[name]
    assert take_user(text) is None
    put = put_user(text, OURS)
    assert put.count("- name: brokerctl\n") == 1
    assert put_user(put, OURS) == put
    assert take_user(put) == text
    other = put_user(put, user_rows("/opt/bin/brokerctl", "test"))
    assert "- 'test'" in other
    assert take_user(other) == text


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_plain_is_left(name: str) -> None:
    """No guess: neither at YAML's other styles, nor at a user of this name that is not ours."""
    with pytest.raises(ValueError, match=r"\w"):
        put_user(REFUSED[name], OURS)
    assert take_user(REFUSED[name]) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"kind: Config\nusers:\n{OTHER}{REWRITTEN}", f"kind: Config\nusers:\n{OTHER}"),
        (f"users:\n{REWRITTEN}{OTHER}kind: C\n", f"users:\n{OTHER}kind: C\n"),
        (f"users:\n{REWRITTEN}kind: C\n", "users: []\nkind: C\n"),
        (f"kind: C\nusers:\n{REWRITTEN}".rstrip("\n"), "kind: C\nusers: []"),
    ],
)
def test_found_by_name_once_kubectl_has_written_the_file(before: str, after: str) -> None:
    """The comments are gone then; our user is taken out and nothing else changes."""
    assert put_user(before, OURS) == before
    assert take_user(before) == after
    other = put_user(before, user_rows("/opt/bin/brokerctl", "test"))
    assert other.count("name: brokerctl") == 1
    assert "begin" in other


def test_what_was_added_by_hand_in_one_row() -> None:
    """As the hint of a refusal words it: taken out like any other."""
    row = (
        '- {"name": "brokerctl", "user": {"exec": {"args": ["helper", "kubernetes", "-p", "x"]}}}\n'
    )
    assert take_user(f"users:\n{row}{OTHER}") == f"users:\n{OTHER}"


@pytest.mark.parametrize("name", ["none", "null", "empty", "no users", "nothing"])
def test_users_that_came_later_stay(name: str) -> None:
    """Somebody put another below ours: the list stays a list, with that one."""
    put = put_user(TEXTS[name], OURS)
    end = "# brokerctl helper install kubernetes: end\n"
    taken = take_user(put.replace(end, end + OTHER))
    assert taken is not None
    assert f"users:\n{OTHER}" in taken
    assert "brokerctl" not in taken


MORE = "      env:\n      - name: A\n        value: b\n"


@pytest.mark.parametrize("is_written", [False, True])
def test_what_was_added_to_our_user_stays(*, is_written: bool) -> None:
    """As `kubectl config set-credentials brokerctl --exec-env` has it; it goes with the user."""
    whole = f"users:\n{REWRITTEN}" if is_written else put_user(TEXTS["a list"], OURS)
    text = whole.replace("      env: null\n", "").replace(
        "      interactiveMode", f"{MORE}      interactiveMode"
    )
    assert put_user(text, OURS) == text
    other = put_user(text, user_rows("/opt/other/brokerctl", "test"))
    assert MORE in other
    assert "- 'test'\n" in other
    assert "command: /opt/other/brokerctl\n" in other
    assert other.count("\n") == text.count("\n")
    assert take_user(other) == ("users: []\n" if is_written else TEXTS["a list"])


@pytest.mark.parametrize("name", ["none", "null", "empty", "no users", "nothing", "a list"])
def test_another_user_between_our_marks_stays(name: str) -> None:
    """And so does a comment in ours."""
    put = put_user(TEXTS[name], OURS)
    end = "# brokerctl helper install kubernetes: end\n"
    text = put.replace(end, OTHER + end).replace("  user:\n    exec", "  user:\n# mine\n    exec")
    taken = take_user(text)
    assert taken is not None
    assert OTHER in taken
    assert "# mine\n" in taken
    assert "brokerctl" not in taken


def test_contexts_that_have_our_user() -> None:
    """By name, whatever their order; others are not named."""
    text = (
        "contexts:\n- context:\n    cluster: c\n    user: brokerctl\n  name: dev\n"
        "- name: 'prod'\n  context: \n    user: \"brokerctl\"\n"
        "- context:\n    user: admin\n  name: brokerctl\nkind: Config\n"
    )
    assert find_contexts(text) == ["dev", "prod"]
    for none in ("", "contexts: []\n", "{contexts: []}", "kind: Config\n", OTHER):
        assert find_contexts(none) == []


@pytest.mark.parametrize("cut", ["begin", "end"])
def test_a_part_that_is_no_longer_whole(cut: str) -> None:
    """Neither command guesses where ours begins or ends."""
    put = put_user(TEXTS["a list"], OURS)
    broken = "\n".join(row for row in put.split("\n") if not row.endswith(f": {cut}"))
    with pytest.raises(ValueError, match="no longer whole"):
        put_user(broken, OURS)
    with pytest.raises(ValueError, match="no longer whole"):
        take_user(broken)


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/a folder/brokerctl", "      command: '/a folder/brokerctl'"),
        ("/it's #1/brokerctl", "      command: '/it''s #1/brokerctl'"),
        ("/caf\u00e9/brokerctl", "      command: '/caf\u00e9/brokerctl'"),
    ],
)
def test_a_path_is_one_text(path: str, row: str) -> None:
    """Whatever is in it; what YAML has no single-quoted form for is refused."""
    assert row in user_rows(path, "prod")
    with pytest.raises(ValueError, match="can't be written"):
        user_rows(f"{path}\n", "prod")


ROWS = st.sampled_from(
    [
        "kind: Config",
        "users:",
        "users: []",
        "- name: a",
        "  user: {}",
        "  - name: b",
        "",
        "# c",
        "  ",
        "users: null",
        "contexts: []",
        "      x: y",
        "-",
        "users: [a]",
        "...",
        "---",
        "\r",
        "name: b",
    ]
)


@given(st.lists(ROWS, max_size=8).map("\n".join))
def test_any_text_comes_back(text: str) -> None:
    """It is refused, or it is byte for byte as before."""
    try:
        put = put_user(text, OURS)
    except ValueError:
        return
    assert put_user(put, OURS) == put
    assert take_user(put) == text
