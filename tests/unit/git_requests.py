"""What git would never send, or not for a host of ours: more than 200 requests, each one odd.

`OURS` is the one request among them all that a profile with `HOSTS` may answer.
"""

from __future__ import annotations

from typing import NamedTuple

MALFORMED, NOTHING, NOBODY = "malformed", "nothing", "nobody"
HOSTS = ("https://git.example.com/team", "https://[2001:db8::1]", "https://*.forge.example")
OURS = b"protocol=https\nhost=git.example.com\npath=team/shop.git\n"
_LINE_BYTES = 65535


class Case(NamedTuple):
    """One request: what it is called, its bytes, and what it is read as."""

    name: str
    data: bytes
    outcome: str  # malformed: no request; nothing: not of the web; nobody: no profile's


def _words(text: str) -> list[str]:
    """Split at plain spaces and newlines alone: others are part of what is tried."""
    return [word for word in text.replace("\n", " ").split(" ") if word]


# Each stands where the host of OURS does.
_HOSTS = _words("""
git.example.com. git.example.com.. .git.example.com git..example.com git.example.co
git.example.comm xgit.example.com sub.git.example.com git-example.com git_example.com
git.example.com.evil.example evil.example example.com com localhost 127.0.0.1 127.1 2130706433
0x7f000001 0177.0.0.1 127.0.0.1. 0.0.0.0 git.example.com:80 git.example.com:8443
git.example.com:0 git.example.com:0443 git.example.com:+443 git.example.com:-443
git.example.com:443: git.example.com: git.example.com:65536 git.example.com:99999999999
git.example.com:4_43 git.example.com:443.0 git.example.com:44\u0663 git.example.com:https
git.example.com:443:443 :443 : git.example.com::443 user@git.example.com @git.example.com
user:pass@git.example.com git.example.com@evil.example git.example.com:443@evil.example
evil.example@git.example.com git.example.com%40evil.example git.example.com%00
git.example.com%0a git.example.com%2eevil.example git%2eexample.com git.example%2ecom
%67it.example.com git.example.com%20 git.example.com%252f git.example.com\\ git.example.com\\@evil
git.example.com\\.evil.example \\git.example.com git.example.com;a git.example.com,evil.example
git.example.com&x git.example.com=x git.example.com| git.example.com$ git.example.com` *
*.example.com git.*.com *.forge.example a.b.forge.example forge.example .forge.example
*forge.example a~.forge.example -a.forge.example a-.forge.example xn--.forge.example.evil
xn--gt-jja.example.com xn--git-.example.com g\u0131t.example.com \uff47it.example.com
git\u3002example.com git.example\uff0ecom git\u00ad.example.com git.\u0435xample.com
gi\u0301t.example.com
git.example.com\u200b \ufeffgit.example.com git.example.com\u2028 \u202egit.example.com
\u212ait.example.com [2001:db8::1 2001:db8::1] 2001:db8::1 [2001:db8::1]x [2001:db8::1]8
[2001:db8:0::1] [2001:0db8::1] [2001:db8:0:0:0:0:0:1] [2001:db8::1%25eth0] [2001:db8::1%eth0]
[2001:db8::1]:80 [2001:db8::1]: [2001:db8::1]:0 [::ffff:10.0.0.1] [::1] [::] [] [v1.x]
[[2001:db8::1]]
[2001:db8::1].evil.example [git.example.com] [2001:db8::2] [2001:db8::1\u0661]
""")
_ODD_HOSTS = (
    " git.example.com",
    "git.example.com ",
    "git.example.com\t",
    "\tgit.example.com",
    "git.example.com evil.example",
    "git.example.com\x0b",
    "git.example.com\x0c",
    "git.example.com\x1b[2J",
    "git.example.com\x7f",
    "git.example.com\x85",
    "git.example.com\x1c",
    "g" * 64 + ".forge.example",
    "a." * 130 + "forge.example",
    "a" * 60000,
)
# A host that is a path, a query or a fragment too is no host.
_UNSAFE_HOSTS = (
    "git.example.com/",
    "git.example.com/team",
    "/git.example.com",
    "//git.example.com",
    "git.example.com/@evil.example",
    "evil.example/git.example.com",
    "git.example.com?",
    "git.example.com?x=y",
    "?git.example.com",
    "git.example.com#",
    "git.example.com#@evil.example",
    "https://git.example.com",
    "evil.example#git.example.com",
    "",
)
_PROTOCOLS = _words("""
HTTPS Https http:// https: https:// https\u200b \uff48ttps 443 // SMTP
""")
# What was kept for such a place goes back there; no profile has one.
_OTHER_PROTOCOLS = _words("""
ssh git file ftp ftps cert smtp imap imaps ldap ws wss https+git git+https ext fd javascript data
""")
_ODD_PROTOCOLS = ("", " https", "https ", "https\t", "https http", "h" * 60000)
# Each stands where the path of OURS does.
_PATHS = (
    *_words("""
team/../secret team/.. ../team ./team team/./x team/..;x/y x/../team team/%2e%2e/secret
team%2fshop teams tea TEAM Team/shop.git xteam team\\..\\secret team%00 %74eam
/team //team team/%2E%2E/x team/%252e%252e/x t%65am/shop teamx/shop team;x/shop
\uff54eam/shop team\u200b/x team?x team#x ?team #team @team :team te%61m/x
"""),
    "",
    "team ",
    " team",
    "team\t/x",
    "team/" + "a" * 60000,
    "team/" + "../" * 500,
)
_LINES = {
    "two hosts": b"host=git.example.com\n",
    "another host": b"host=evil.example\n",
    "two protocols": b"protocol=https\n",
    "another protocol": b"protocol=http\n",
    "another path": b"path=other\n",
    "two users": b"username=a\nusername=a\n",
    "no sign": b"host\n",
    "no sign, a colon": b"host: evil.example\n",
    "no key": b"=evil.example\n",
    "only a sign": b"=\n",
    "a space": b" \n",
    "a tab": b"\t\n",
    "not UTF-8": b"username=\xff\xfe\n",
    "a surrogate": b"username=\xed\xa0\x80\n",
    "latin-1": b"username=Andr\xe9\n",
    "UTF-16": "host=evil".encode("utf-16-le") + b"\n",
    "a host of 65,535 bytes": b"host=" + b"x" * (_LINE_BYTES - 5) + b"\n",
    "a long line without a sign": b"x" * 500_000 + b"\n",
    "a carriage return in a key": b"host\r=evil.example\n",
    "a NUL in a key": b"odd\0=1\n",
    "a key that is not ASCII": b"h\xc3\xb6st=evil.example\n",
    "a carriage return alone": b"\r\n",
    "a NUL alone": b"\0\n",
}
# Of keys that decide nothing, each behind OURS: whatever a server has put there, OURS it stays.
UNREAD = {
    "two of what nobody knows": b"odd=1\nodd=2\n",
    "an overlong slash": b"path2=\xc0\xaf\n",
    "an overlong NUL": b"odd=\xc0\x80\n",
    "half a character": b"odd=\xe2\x82\n",
    "a surrogate in what nobody knows": b"odd=\xed\xa0\x80\n",
    "a carriage return in what nobody knows": b"odd=1\rhost=evil.example\n",
    "a NUL in what nobody knows": b"odd=1\0\n",
    "a line of 65,535 bytes": b"a=" + b"x" * (_LINE_BYTES - 2) + b"\n",
    "a line of 65,536 bytes": b"a=" + b"x" * (_LINE_BYTES - 1) + b"\n",
    "a list of 65,535 bytes": b"wwwauth[]=" + b"x" * (_LINE_BYTES - 10) + b"\n",
    "a carriage return in a list": b"wwwauth[]=Basic\rhost=evil.example\n",
    "a NUL in a list": b"wwwauth[]=Basic\0x\n",
    "Latin-1 in a challenge": b'wwwauth[]=Basic realm="Gr\xfcn"\n',
    "a challenge of one byte": b"wwwauth[]=\xff\n",
    "a thousand challenges": b'wwwauth[]=Digest realm="x\n' * 1000,
    "a host in a list": b"host[]=evil.example\n",
    "a list that nobody knows": b"odd[]=\xff\r\n",
    "states": b"state[]=other.\xff\nstate[]=other.1\n",
    "continue twice": b"continue=1\ncontinue=0\n",
}
_WHOLE = {
    "empty": b"",
    "an empty line": b"\n",
    "a thousand empty lines": b"\n" * 1000,
    "an empty line first": b"\n" + OURS,
    "a url alone": b"url=https://git.example.com/team\n",
    "no host": b"protocol=https\npath=team\n",
    "no protocol": b"host=git.example.com\npath=team\n",
    "upper case keys": OURS.upper(),
    "keys with spaces": OURS.replace(b"=", b" = "),
    "a host in a list": b"protocol=https\nhost[]=git.example.com\npath=team\n",
    "a path alone": b"path=team/shop.git\n",
}
_BROKEN = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: git.example.com\r\n\r\n",
    "JSON": b'{"protocol": "https", "host": "git.example.com"}\n',
    "a byte order mark": b"\xef\xbb\xbf\xff" + OURS,
    "random": bytes(range(256)),
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(64),
    "one byte": b"x",
    "a million zeros": bytes(1_000_000),
    "UTF-16": OURS.decode().encode("utf-16"),
    "carriage returns for newlines": OURS.replace(b"\n", b"\r"),
    "Windows": OURS.replace(b"\n", b"\r\n"),
}


def all_cases() -> list[Case]:
    """Return every case; their names are unique."""
    return [*_of_hosts(), *_of_parts(), *_of_lines(), *_at_each_place()]


def _of_hosts() -> list[Case]:
    odd = [*_HOSTS, *_ODD_HOSTS]
    return [
        *(Case(f"host {_short(host)}", _with(b"git.example.com", host), NOBODY) for host in odd),
        *(
            Case(f"host {_short(host)}", _with(b"git.example.com", host), NOTHING)
            for host in _UNSAFE_HOSTS
        ),
    ]


def _of_parts() -> list[Case]:
    return [
        *(
            Case(f"protocol {_short(one)}", _with(b"https", one), NOTHING)
            for one in (*_PROTOCOLS, *_ODD_PROTOCOLS)
        ),
        *(
            Case(f"protocol {_short(one)}", _with(b"https", one), NOBODY)
            for one in ("http", *_OTHER_PROTOCOLS)
        ),
        *(Case(f"path {_short(path)}", _with(b"team/shop.git", path), NOBODY) for path in _PATHS),
    ]


def _of_lines() -> list[Case]:
    return [
        *(Case(f"then {name}", OURS + line, MALFORMED) for name, line in _LINES.items()),
        *(Case(name, data, NOTHING) for name, data in _WHOLE.items()),
        *(Case(name, data, MALFORMED) for name, data in _BROKEN.items()),
    ]


def _at_each_place() -> list[Case]:
    """Return OURS with a carriage return, a NUL or half a character at each of its places."""
    return [
        Case(f"{what} at {at}", OURS[:at] + byte + OURS[at:], MALFORMED)
        for what, byte in (("CR", b"\r"), ("NUL", b"\0"), ("0xFF", b"\xff"))
        for at in range(len(OURS))
    ]


def _with(old: bytes, new: str) -> bytes:
    return OURS.replace(old, new.encode(), 1)


def _short(text: str) -> str:
    return f"{text[:40]!a} of {len(text)}"
