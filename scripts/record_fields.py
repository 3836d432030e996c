"""What each field of a record is, for docs/json.schema.json; one without a line is an error.

The keys are those of `broker/events`, the values JSON Schema (draft 2020-12).
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
SAFE_TEXT = {"$ref": "#/$defs/text-or-null"}
TIME = {"$ref": "#/$defs/time-or-null"}
COUNT = {"$ref": "#/$defs/count"}
COUNT_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
WORDS = {"$ref": "#/$defs/words"}
HASH = {"$ref": "#/$defs/hash"}
FIELDS: dict[str, dict[str, Any]] = {
    "profile": {"type": ["string", "null"]},
    "profiles": WORDS,
    "issuer": {"$ref": "#/$defs/url"},
    "subject": SAFE_TEXT,
    "sub": SAFE_TEXT,
    "minute": {"description": "In which the requests ended: its beginning.", **TIME},
    "method": {"description": "Of the requests; `other` for a rare one.", **TEXT},
    "origin": {"description": "Scheme, host and port that the requests went to.", **TEXT},
    "path": {
        "description": "The first segment below the profile's host; `other` beyond 100.",
        **TEXT,
    },
    "answer": {"enum": ["1xx", "2xx", "3xx", "4xx", "5xx", "refused"]},
    "sent": {"description": "Bytes of the bodies of all the requests.", **COUNT},
    "received": {"description": "Bytes of the bodies of all the answers.", **COUNT},
    "scopes": WORDS,
    "resource": WORDS,
    "audience": WORDS,
    "fingerprint": {"$ref": "#/$defs/fingerprint-or-null"},
    "size": {
        "description": "Bytes of the token that `fingerprint` names; null: none, or not known.",
        **COUNT_OR_NULL,
    },
    "expires_at": TIME,
    "issuer_expires_at": TIME,
    "kept_until": TIME,
    "generation": COUNT,
    "requester": {"$ref": "#/$defs/requester-or-null"},
    "decision": {
        "type": "object",
        "required": ["effect", "rule", "layer", "reason"],
        "properties": {
            "effect": {"enum": ["allow", "narrow", "ask", "deny"]},
            "rule": TEXT,
            "layer": TEXT,
            "reason": TEXT,
            "policy": {"description": "What names the files whose rules decided.", **TEXT},
            "approval": {
                "description": "Who said yes where a rule asks, to which question, in which lease.",
                "type": "object",
                "properties": dict.fromkeys(("by", "question", "lease"), TEXT),
            },
            "facts": {
                "description": "What rules looked at and no other field has; null: not known."
                " `project_scopes`: what a trusted project left of the profile's.",
                "type": "object",
            },
        },
    },
    "asked": {
        "description": "What was asked for by name, where there are rules.",
        "type": "object",
        "properties": {
            **dict.fromkeys(("scopes", "resource", "audience"), WORDS),
            "max_ttl": {"description": "In seconds.", "type": "number", "minimum": 0},
            "purpose": {"description": "Where it is the tool's name too.", **TEXT},
        },
    },
    "for_profile": {"description": "Whose request needed this token, in a chain.", **TEXT},
    "question": {"description": "What names one question.", **TEXT},
    "lease": {"description": "What names one lease; null: there is none.", **SAFE_TEXT},
    "by": {"description": "terminal, elsewhere, command or nobody.", **TEXT},
    "action": TEXT,
    "max_ttl_s": {"type": ["number", "null"]},
    "uses": COUNT_OR_NULL,
    "session": SAFE_TEXT,
    "agent": {"description": "The agent that the session is for; absent: none.", **TEXT},
    "command": {"description": "The program's name, without its other words.", **TEXT},
    "serves": {"description": "The ways by which the child asks: socket, gateway, aws.", **WORDS},
    "hosts": {"description": "The hosts to which the session is narrowed; absent: none.", **WORDS},
    "rate": {"description": "So many hand-outs in so long, as it was given: 30/m.", **TEXT},
    "purpose": TEXT,
    "url": TEXT,
    "route": {
        "type": "object",
        "properties": {"proxy": TEXT, "tls_server_name": TEXT, "ca_sha256": HASH},
    },
    "owner": SAFE_TEXT,
    "job": {
        "description": "The CI job that the token is of; what was proven is null before it is.",
        "type": "object",
        "required": ["platform", "id", "repository", "ref", "actor"],
        "properties": {
            "platform": TEXT,
            "id": {"type": ["string", "null"]},
            **dict.fromkeys(("repository", "ref", "actor"), SAFE_TEXT),
        },
    },
    "exchange": {
        "description": "Whose token was exchanged (RFC 8693), and what the new one says of actors.",
        "type": "object",
        "required": ["subject", "actor", "act", "issued_type"],
        "properties": {
            "subject": TEXT,
            **dict.fromkeys(("actor", "issued_type"), SAFE_TEXT),
            "act": {"type": ["object", "null"]},
        },
    },
    "broader": {
        "description": "The scopes that were granted and that nobody had asked for; absent: none.",
        **WORDS,
    },
    "outcome": TEXT,
    "error": TEXT,
    "reason": TEXT,
    "proven": {"type": ["boolean", "null"]},
    "username": TEXT,
    "file": TEXT,
    "kind": TEXT,
    "names": WORDS,
    "count": COUNT,
    "entries": COUNT,
    "restored": COUNT,
    "kept": COUNT,
    "refused": COUNT,
    "from": TEXT,
    "to": TEXT,
    "resealed": COUNT,
    "left": COUNT,
    "segment": {"$ref": "#/$defs/segment"},
    "found": TEXT,
    "skipped": COUNT,
    "lines": COUNT,
    "hash": HASH,
    "of": COUNT,
    "digest": HASH,
    "problems": COUNT,
}
