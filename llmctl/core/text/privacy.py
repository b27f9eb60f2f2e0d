"""Personal data and secrets in a text: where they are, and a text without them.

Words are bounded by ASCII: `邮箱是zhangsan@example.cn` has an address that begins with z, which
a word boundary of regular expressions, to which Han characters are letters too, would not see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from llmctl.core.text.privacy_addresses import find_emails, find_ipv4, find_ipv6, is_in_url
from llmctl.core.text.privacy_candidates import Candidates, find_candidates, narrow
from llmctl.core.text.privacy_numbers import find_bank_cards, find_chinese_ids, find_phones
from llmctl.core.text.privacy_secrets import find_by_words, find_tokens

# In order of rank: where two kinds are found in one place, the earlier holds.
KINDS = ("secret", "email", "chinese_id", "bank_card", "phone", "ip")

PLACEHOLDERS = {
    "secret": "<KEY>",
    "email": "email@example.com",
    "chinese_id": "110101190001010000",
    "bank_card": "4000000000000000",
    "phone": "+1 202 555 0100",
    "ip": "22.214.171.124",
}
"""What stands for each kind afterwards: for addresses FineWeb's (Penedo et al. 2024,
arXiv:2406.17557), for keys StarCoder's (Li et al. 2023, arXiv:2305.06161); a number set aside
for fiction, and numbers whose check digits are wrong."""

# Around a stretch of digits: the bracket and plus before it, the X of an identity number and
# what shows that a number goes on after it.
_BEFORE, _AFTER = 3, 6

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """A piece of personal data or a secret.

    Attributes:
        kind: One of `KINDS`.
        start: Of its first character in the text.
        end: After its last character.
    """

    kind: str
    start: int
    end: int


def find_private(text: str, kinds: Collection[str] = KINDS) -> list[Finding]:
    """Return the personal data and secrets of the given kinds, in order, none overlapping.

    - email: what has the form of an address, but for `user@example.com` and the like;
    - ip: public IPv4 and IPv6 addresses; private, reserved and documentation ones are nobody's;
    - phone: with a plus; Chinese mobile and fixed-line, Japanese and North American numbers;
    - chinese_id: eighteen digits with province, birthday and check digit right;
    - bank_card: an issuer's prefix of its length with Luhn's check digit right;
    - secret: keys and tokens of well-known services, private keys, JSON Web Tokens.

    Numbers in a URL are not looked at. Full-width digits and signs count as plain
    ones. Placeholders are not found again.

    Raises:
        ValueError: A kind is none of `KINDS`.
    """
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise ValueError(f"kinds must be among {KINDS}, got {sorted(unknown)}")
    candidates = find_candidates(
        text,
        numbers=not {"phone", "chinese_id", "bank_card"}.isdisjoint(kinds),
        addresses="ip" in kinds,
        tokens="secret" in kinds,
    )
    found = [
        Finding(kind, *span)
        for kind in KINDS
        if kind in kinds
        for span in _FINDERS[kind](text, candidates)
    ]
    return _not_overlapping(text, found) if found else []


def replace_private(text: str, findings: Sequence[Finding]) -> str:
    """Return the text with the placeholder of its kind in the place of each finding.

    Args:
        text: The text in which they were found.
        findings: In order and not overlapping, as `find_private` returns them.

    Raises:
        ValueError: They overlap, are out of order or outside the text.
    """
    pieces: list[str] = []
    position = 0
    for finding in findings:
        if not position <= finding.start < finding.end <= len(text):
            raise ValueError(
                f"findings must be in order within the {len(text)} characters of the text and "
                f"not overlap, got {finding} after position {position}"
            )
        pieces += (text[position : finding.start], PLACEHOLDERS[finding.kind])
        position = finding.end
    return "".join((*pieces, text[position:]))


def _not_overlapping(text: str, found: list[Finding]) -> list[Finding]:
    taken = bytearray(len(text))
    for placeholder in PLACEHOLDERS.values():
        start = text.find(placeholder)
        while start >= 0:
            end = start + len(placeholder)
            taken[start:end] = b"1" * len(placeholder)
            start = text.find(placeholder, end)
    kept: list[Finding] = []
    for finding in found:
        if not any(taken[finding.start : finding.end]):
            taken[finding.start : finding.end] = b"1" * (finding.end - finding.start)
            kept.append(finding)
    return sorted(kept, key=lambda finding: finding.start)


def _secrets(text: str, candidates: Candidates) -> Iterator[Span]:
    yield from find_by_words(text)
    yield from find_tokens(text, candidates.tokens)


def _emails(text: str, candidates: Candidates) -> Iterator[Span]:
    return find_emails(text)


def _ips(text: str, candidates: Candidates) -> Iterator[Span]:
    yield from _in_stretches(text, candidates.dotted, find_ipv4, before=12)
    for start in candidates.colons:
        span = find_ipv6(text, start)
        if span is not None:
            yield span


def _in_numbers(
    finder: Callable[[str], Iterator[Span]],
) -> Callable[[str, Candidates], Iterator[Span]]:
    def find(text: str, candidates: Candidates) -> Iterator[Span]:
        for span in _in_stretches(text, candidates.numbers, finder):
            if not is_in_url(text, span[0], query=True):
                yield span

    return find


def _in_stretches(
    text: str,
    stretches: Sequence[Span],
    finder: Callable[[str], Iterator[Span]],
    before: int = _BEFORE,
) -> Iterator[Span]:
    for first, last in stretches:
        begin = max(0, first - before)
        for start, end in finder(narrow(text[begin : last + _AFTER])):
            yield begin + start, begin + end


_FINDERS: dict[str, Callable[[str, Candidates], Iterator[Span]]] = {
    "secret": _secrets,
    "email": _emails,
    "chinese_id": _in_numbers(find_chinese_ids),
    "bank_card": _in_numbers(find_bank_cards),
    "phone": _in_numbers(find_phones),
    "ip": _ips,
}
