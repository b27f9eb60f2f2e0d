"""E-mail and IP addresses in a text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from llmctl.core.text.privacy_candidates import narrow

_LOCAL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-")
# RFC 5321, section 4.5.3.1: of the local part and of the domain.
_MAX_LOCAL_CHARACTERS = 64
_MAX_DOMAIN_CHARACTERS = 255
_DOMAIN = re.compile(r"[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++(?![@_])")
_TOP_LEVEL = re.compile(r"[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{1,59}")
# `icon@2x.png`, `package@latest.js`, `name@domain.tld`: none of them a top-level domain.
_NO_TOP_LEVEL = re.compile(
    r"css|gif|gz|html?|ico|jpe?g|js|json|lock|png|svg|tld|toml|tsx|txt|webp|xml|ya?ml",
    re.IGNORECASE,
)
# Domains set aside for examples (RFC 2606, RFC 6761), and what people write before them; a
# name of a person is personal there too.
_EXAMPLE_DOMAIN = re.compile(
    r"(?:^|\.)(?:example\.(?:com|net|org)|example|test|invalid|localhost)$"
)
_EXAMPLE_NAMES = re.compile(
    r"a|abuse|admin|bar|contact|email|(?:email[._-]?)?address|example|foo|hello|help|hostmaster|"
    r"info|mail|me|no-?reply|nobody|postmaster|root|sales|someone|support|test|"
    r"(?:user|your)?[._-]?(?:e?mail|name)|user|webmaster|x|you"
)
# `git@github.com:owner/name`: everybody's.
_NOBODY = frozenset(["git", "hg", "svn"])

_IP_4 = re.compile(
    r"(?<![0-9A-Za-z_.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9]|-[0-9])"
)
# Three numbers below this and a fourth are a version or a section: 3.3.9.45; of the hosts of
# the Internet one in 2,000 begins so.
_MIN_OCTET = 20
_NUMBERED = re.compile(
    r"(?:\bv|\bver|\bversions?|\brelease|\bsections?|\bsec|\bchapter|版本?号?|第|章|节|§|[=<>~^]=?)"
    r"\.?[ :]{0,2}$",
    re.IGNORECASE,
)
# What has been given out of 2000::/3: IANA, "IPv6 Global Unicast Address Assignments".
_IP_6 = re.compile(r"2(?:00[1-3]|[468ACac][0-9A-Fa-f]{2}):[0-9A-Fa-f:]{2,34}")

# Brackets, commas, quotes and semicolons, which a URL may hold, more often end one.
_ENDS_PATH = re.compile(r"[^!#-&*+\-/0-9:=@A-Z._a-z~]")
_ENDS_URL = re.compile(r"[^!#-&*+\-/0-9:=?@A-Z._a-z~]")


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of e-mail addresses in ASCII, whatever script stands beside them.

    Not those in the path of a URL (archives of mailing lists), names of files with an `@`,
    or what documents write at a domain that is set aside for examples (`user@example.com`).
    """
    for sign in "@" if text.isascii() else "@＠":
        at = text.find(sign)
        while at >= 0:
            # Cheap for what has no address: a decorator, a handle, a run of signs.
            if text[at - 1 : at].isalnum() or text[at - 1 : at] in tuple("_%+-"):
                span = _email_around(text, at)
                if span is not None:
                    yield span
            at = text.find(sign, at + 1)


def _email_around(text: str, at: int) -> tuple[int, int] | None:
    left = narrow(text[max(0, at - _MAX_LOCAL_CHARACTERS - 1) : at])
    begin = len(left)
    while begin and left[begin - 1] in _LOCAL:
        begin -= 1
    local = left[begin:].lstrip("._%+-")
    domain = _domain(narrow(text[at + 1 : at + 2 + _MAX_DOMAIN_CHARACTERS]))
    if not local or len(local) > _MAX_LOCAL_CHARACTERS or ".." in local or domain is None:
        return None
    name = local.lower()
    if name in _NOBODY or (
        _EXAMPLE_NAMES.fullmatch(name) and _EXAMPLE_DOMAIN.search(domain.lower())
    ):
        return None
    start = at - len(local)
    if text[start - 1 : start] in ("@", "＠") or is_in_url(text, start):
        return None
    return start, at + 1 + len(domain)


def _domain(text: str) -> str | None:
    match = _DOMAIN.match(text)
    if match is None:
        return None
    labels = match[0].split(".")
    # A dash after the domain is punctuation.
    labels[-1] = labels[-1].rstrip("-")
    if any(not 0 < len(label) <= 63 or "-" in (label[0], label[-1]) for label in labels):
        return None
    known = _TOP_LEVEL.fullmatch(labels[-1]) and not _NO_TOP_LEVEL.fullmatch(labels[-1])
    domain = ".".join(labels)
    return domain if known and len(domain) <= _MAX_DOMAIN_CHARACTERS else None


def is_in_url(text: str, position: int, *, query: bool = False) -> bool:
    """Return whether a position lies in the host or the path of a URL, or in its query."""
    before = text[max(0, position - 300) : position]
    scheme = before.rfind("://")
    return scheme >= 0 and not (_ENDS_URL if query else _ENDS_PATH).search(before, scheme)


def find_ipv4(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of public IPv4 addresses in a stretch of text in plain ASCII.

    Private, reserved and documentation addresses are nobody's; numbers of versions and of
    sections, networks (`.0` at the end) are no hosts.
    """
    for match in _IP_4.finditer(text):
        octets = match[0].split(".")
        if any(int(octet) > 255 or (octet[0] == "0" and len(octet) > 1) for octet in octets):
            continue
        if octets[3] == "0" or max(map(int, octets[:3])) < _MIN_OCTET:
            continue
        if _is_public(match[0]) and not _NUMBERED.search(text[: match.start()]):
            yield match.span()


def find_ipv6(text: str, start: int) -> tuple[int, int] | None:
    """Return the span of the public IPv6 address that begins at a position, if one does."""
    before = text[max(0, start - 1) : start]
    if before and (before in (":", "_", ".", "-") or (before.isascii() and before.isalnum())):
        return None
    stretch = narrow(text[start : start + 46])
    match = _IP_6.match(stretch)
    if match is None:
        return None
    found = match[0].rstrip(":") if not match[0].endswith("::") else match[0]
    following = stretch[len(found) : len(found) + 1]
    if following.isascii() and following.isalnum():
        return None
    return (start, start + len(found)) if _is_public(found) else None


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_global and not parsed.is_multicast
