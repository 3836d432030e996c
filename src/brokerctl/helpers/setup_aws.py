"""AWS's own configuration: a section for each profile, which says what to run for credentials."""

from __future__ import annotations

import configparser
import os
import shlex
from typing import TYPE_CHECKING

from brokerctl.config.replacing import read_regular
from brokerctl.errors import UsageError
from brokerctl.helpers.blocks import put_block, take_block
from brokerctl.helpers.setups import PRIVATE_MODE, BlockSetup, Place, home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part
    from brokerctl.model import Profile

_FLOW = "aws_web_identity"
_WORDS = 2  # "profile" and its name


class AwsSetup(BlockSetup):
    """`~/.aws/config`, which the command line and every SDK read."""

    name = "aws"

    def places(self, environ: Mapping[str, str]) -> list[Place]:
        """Return the one file; AWS's own tools make it for its owner alone."""
        return [Place(self.path(environ), PRIVATE_MODE)]

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file; AWS_CONFIG_FILE is read instead of it."""
        given = environ.get("AWS_CONFIG_FILE")
        return os.path.abspath(given) if given else home_path(environ, ".aws", "config")

    def put(self, place: Place, text: str, part: Part) -> str:
        """Put the sections in; one that is there already is somebody's and stays."""
        base = take_block(text, self.name)
        base = text if base is None else base
        lines, names = self.lines(part), [profile.name for profile in _chosen(part)]
        found = _sections(place.path, base)
        for name in names:
            if name in _names(found):
                raise UsageError(
                    f"{place.path} has a section for '{name}' already",
                    hint="take it out first, or name the profile otherwise",
                )
        after = put_block(text, self.name, lines)
        wanted = found | {f"profile {name}" for name in names}
        if _sections(place.path, after) != wanted:
            raise UsageError(f"can't change {place.path}", hint="add the section by hand")
        return after

    def lines(self, part: Part) -> list[str]:
        """Return the sections; a path is quoted as a shell's word, which AWS's tools split at."""
        chosen = _chosen(part)
        if not chosen:
            raise UsageError(
                f"no profile has the flow {_FLOW}, so there are no credentials for AWS",
                hint="see 'aws' and 'exchange' in docs/configuration.md",
            )
        if not part.script.isprintable():
            raise UsageError("the path of brokerctl can't stand in a line", hint="move it")
        rows: list[str] = []
        for profile in chosen:
            command = shlex.join([part.script, "helper", "aws", "--profile", profile.name])
            rows += [f"[profile {profile.name}]", f"credential_process = {command}"]
        return rows

    def advice(self, part: Part) -> str | None:
        """Say which profile has static keys elsewhere: those go before."""
        given = part.environ.get("AWS_SHARED_CREDENTIALS_FILE")
        path = given or home_path(part.environ, ".aws", "credentials")
        try:
            found = _sections(path, read_regular(path).decode("utf-8", "surrogateescape"))
        except (OSError, UsageError):
            return None
        names = [profile.name for profile in _chosen(part) if profile.name in found]
        if not names:
            return None
        return f"{path} has keys of {' and '.join(names)}, which go before: take them out"


def _chosen(part: Part) -> list[Profile]:
    return sorted(
        (profile for profile in part.profiles if profile.flow == _FLOW),
        key=lambda profile: profile.name,
    )


def _names(sections: set[str]) -> set[str]:
    """Return whose sections these are; AWS's tools read a name as a shell's words."""
    found = {"default"} & sections
    for section in sections:
        try:
            words = shlex.split(section)
        except ValueError:
            continue  # an open quote: AWS's tools pass over it too
        if section.startswith("profile") and len(words) == _WORDS:
            found.add(words[1])
    return found


def _sections(path: str, text: str) -> set[str]:
    """Return the names of a file's sections, as AWS's tools read them."""
    parser = configparser.RawConfigParser(default_section="\0")
    try:
        parser.read_string(text, path)
    except configparser.Error:
        raise UsageError(f"{path} can't be read as what it is", hint="mend it first") from None
    return set(parser.sections())
