"""The page about the configuration names what there is, and its examples compile."""

from __future__ import annotations

import os
import re

import pytest

from brokerctl.config import fields
from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, Layers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(f"{ROOT}/docs/configuration.md", encoding="utf-8") as _file:
    PAPER = _file.read()


@pytest.mark.parametrize(
    "word", [*fields.PROFILE, *(".".join(key) for key in fields.SETTING_NAMES)]
)
def test_every_key_is_explained(word: str) -> None:
    """A key without a line is a key that nobody finds."""
    assert f"`{word}`" in PAPER


def test_the_examples_compile() -> None:
    """What the page shows can be pasted."""
    *user, project = re.findall(r"```toml\n(.*?)```", PAPER, re.DOTALL)
    (sign,) = (one for one in user if not one.startswith("["))  # in place of what a key is above
    (bot,) = (one for one in user if "github_app" in one)
    user[user.index(sign)] = re.sub(r"client_key = .*\n", sign, bot.replace(".bot]", ".signed]"))
    login = '[profile.login]\npreset = "gitlab"\nclient_id = "y"\n'
    gitlab = (
        '[profile.gitlab]\npreset = "gitlab"\nclient_id = "x"\n'
        'scopes = ["api", "read_repository"]\n'
    )
    files = (
        Layer(
            label="user",
            path="/u.toml",
            content="".join((*user, login, gitlab)).encode(),
        ),
        Layer(label="project", path="/p.toml", content=project.encode()),
    )
    plan = compile_layers(Layers(files=files), {"HOME": "/home/someone"})
    assert plan.narrowed_scopes == {"gitlab": ("read_repository",)}
