"""AWS's own configuration: a section for each profile, with the program that prints credentials."""

from __future__ import annotations

import configparser
import os
import shlex
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import PRIVATE_MODE, SetupFile
from brokerctl.helpers.edit.blocks import (
    find_kept,
    has_block,
    put_block,
    put_in_sections,
    take_block,
    without_block,
)
from brokerctl.helpers.setups import BlockSetup, home_path
from brokerctl.model import FLOWS, NOT_BEARER
from brokerctl.platform.user_files import read_regular
from brokerctl.text import any_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part
    from brokerctl.model import Profile

_KEY, _WE = "credential_process", " helper aws --profile "
_Sections = dict[str, dict[str, str]]
_WORDS = 2  # "profile" and its name
# The keys that give a section credentials of its own (AWS's guide to its shared files).
_CREDENTIALS = (
    *("aws_access_key_id", "aws_secret_access_key", "aws_session_token", _KEY, "credential_source"),
    *("role_arn", "source_profile", "web_identity_token_file", "login_session"),
    *("sso_session", "sso_start_url", "sso_account_id", "sso_role_name"),
)
_FLOWS = any_of(name for name, one in FLOWS.items() if one.token_type == NOT_BEARER)


class AwsSetup(BlockSetup):
    """`~/.aws/config`, which the command line and every SDK read."""

    name = "aws"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the one file; AWS's own tools make it for its owner alone."""
        return [SetupFile(self.path(environ), PRIVATE_MODE)]

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file that AWS_CONFIG_FILE names, else the usual one."""
        given = environ.get("AWS_CONFIG_FILE")
        return os.path.abspath(given) if given else home_path(environ, ".aws", "config")

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Put the sections in; UsageError if one has credentials of somebody else already.

        A section without any gets our line: `aws configure set region` makes such a section.
        """
        base = without_block(text, self.name, self.form)
        before, sections = _parse(place.path, base), self.sections(part)
        kept = {
            one for one in find_kept(text, self.name, self.form) if _KEY not in before[one[1:-1]]
        }
        kept |= {one for one in sections if _has_none(before.get(one[1:-1]))}
        for header, profile in zip(sections, _chosen(part), strict=True):
            if header not in kept and profile.name in _names(set(before)):
                raise UsageError(
                    f"{place.path} has a section for '{profile.name}' already",
                    hint="take it out first, or name the profile otherwise",
                )
        wanted = dict(before)
        for header, lines in sections.items():
            name = header[1:-1]
            wanted[name] = {**before.get(name, {}), _KEY: lines[0].partition(" = ")[2]}
        if has_block(text, self.name) and _parse(place.path, text) == wanted:
            return text
        rows = [row for header, lines in sections.items() for row in (header, *lines)]
        candidates = put_in_sections(base, self.name, sections)
        for after in candidates if kept else [put_block(text, self.name, rows, self.form)]:
            if _try(after) == wanted:
                return after
        raise UsageError(f"can't change {place.path}", hint="add the section by hand")

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take our lines out; a section stays if somebody has added a key of their own."""
        taken = take_block(text, self.name, self.form)
        before, after = _try(text), None if taken is None else _try(taken)
        if before is not None and taken is not None and _others(before) != _others(after):
            raise UsageError(f"can't take brokerctl out of {place.path}", hint="do it by hand")
        return taken

    @staticmethod
    def is_ours(rows: list[str], at: int) -> bool:
        """Return whether a row is one of our commands."""
        return rows[at].startswith(f"{_KEY} = ") and _WE in rows[at]

    @staticmethod
    def is_header(row: str) -> bool:
        """Return whether a row is the header of a profile."""
        return row.startswith("[profile ")

    def sections(self, part: Part) -> dict[str, list[str]]:
        """Return the sections; the path is quoted, since AWS's tools split it as a shell does."""
        chosen = _chosen(part)
        if not chosen:
            raise UsageError(
                f"no profile has the flow {_FLOWS}, so there are no credentials for AWS",
                hint="see 'aws' and 'exchange' in docs/configuration.md",
            )
        if not part.script.isprintable():
            raise UsageError("the path of brokerctl can't stand in a line", hint="move it")
        found: dict[str, list[str]] = {}
        for profile in chosen:
            command = shlex.join([part.script, "helper", "aws", "--profile", profile.name])
            found[f"[profile {profile.name}]"] = [f"{_KEY} = {command}"]
        return found

    def advice(self, part: Part) -> str | None:
        """Say which profile has static keys elsewhere: AWS's tools take those first."""
        given = part.environ.get("AWS_SHARED_CREDENTIALS_FILE")
        path = given or home_path(part.environ, ".aws", "credentials")
        try:
            found = _parse(path, read_regular(path).decode("utf-8", "surrogateescape"))
        except (OSError, UsageError):
            return None
        names = [profile.name for profile in _chosen(part) if profile.name in found]
        if not names:
            return None
        return f"{path} has keys of {' and '.join(names)}, which go before: take them out"


def _has_none(section: Mapping[str, str] | None) -> bool:
    """Return whether a section is there and gives no credentials."""
    return section is not None and section.keys().isdisjoint(_CREDENTIALS)


def _chosen(part: Part) -> list[Profile]:
    return sorted(
        (profile for profile in part.profiles if profile.traits.token_type == NOT_BEARER),
        key=lambda profile: profile.name,
    )


def _names(sections: set[str]) -> set[str]:
    """Return the profiles of these sections; AWS's tools split a section's name as a shell does."""
    found = {"default"} & sections
    for section in sections:
        try:
            words = shlex.split(section)
        except ValueError:
            continue  # an open quote: AWS's tools skip this section too
        if section.startswith("profile") and len(words) == _WORDS:
            found.add(words[1])
    return found


def _others(found: _Sections | None) -> _Sections | None:
    """Return what a file says without our commands and the sections that hold nothing else."""
    if found is None:
        return None
    left = {}
    for name, keys in found.items():
        others = {key: value for key, value in keys.items() if key != _KEY or _WE not in value}
        if others or _KEY not in keys:
            left[name] = others
    return left


def _parse(path: str, text: str) -> _Sections:
    """Return what is in a file, as AWS's tools read it."""
    found = _try(text)
    if found is None:
        raise UsageError(f"{path} can't be read as what it is", hint="mend it first")
    return found


def _try(text: str) -> _Sections | None:
    parser = configparser.RawConfigParser(default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return {section: dict(parser.items(section)) for section in parser.sections()}
