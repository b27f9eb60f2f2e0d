"""Telephone numbers, Chinese identity numbers and bank cards, in stretches of digits."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator

# A number inside a word, a decimal fraction, an amount, a macro is none.
_BEFORE = r"(?<![0-9A-Za-z_.$€£¥%&#@\\-])"
_AFTER = r"(?![0-9A-Za-z_%@\\]|\.[0-9]|,[0-9]{3}(?![0-9-])|-[0-9A-Za-z])"

# China, mobile: 1, then 3 to 9, then nine digits (numbering plan of the ministry, 2017), alone
# or in groups of 3-4-4, behind the country's code or not.
_CHINESE_MOBILE = re.compile(
    _BEFORE + r"(?:\(?(?:\+|00)?86\)?[ -]{0,2})?(1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4})" + _AFTER
)
# China, fixed line: the area code in brackets or with a dash, seven or eight digits.
_CHINESE_FIXED = re.compile(
    _BEFORE
    + r"(?:\(0(?:10|2[0-9]|[3-9][0-9]{2})\)[ -]?|0(?:10|2[0-9]|[3-9][0-9]{2})-)"
    + r"([2-8][0-9]{2,3}[ -]?[0-9]{4})(?:-[0-9]{1,6})?"
    + _AFTER
)
# Japan: ten digits, eleven for mobiles, in three groups.
_JAPANESE = re.compile(_BEFORE + r"(0[0-9]{1,3}-[0-9]{2,4}-[0-9]{4})" + _AFTER)
# North American Numbering Plan: NPA-NXX-XXXX, (NPA) NXX-XXXX, or anything behind +1.
_NORTH_AMERICAN = re.compile(
    _BEFORE
    + r"((?:1[ -])?(?:\([2-9][0-8][0-9]\) ?|[2-9][0-8][0-9]-)[2-9][0-9]{2}-[0-9]{4})"
    + _AFTER
)
_NORTH_AMERICAN_PLUS = re.compile(
    _BEFORE + r"(\+1[ .-]?\(?[2-9][0-8][0-9]\)?[ .-]?[2-9][0-9]{2}[ .-]?[0-9]{4})" + _AFTER
)
# All others as ITU-T E.164 has them: a plus, a country code, at most 15 digits in all.
_INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z_.$€£¥%&#@\\+-])"
    r"\+((?!1)[1-9][0-9]{0,2}(?:[ .-]?\([0-9]{1,4}\))?(?:[ .-]?[0-9]){5,13})" + _AFTER
)
_FICTIONAL = re.compile("55501[0-9]{2}$")
_CHINESE_ID = re.compile(
    r"(?<![0-9A-Za-z_./\\-])([1-8][0-9]{5})[ -]?([12][0-9]{7})[ -]?([0-9]{3}[0-9Xx])"
    r"(?![0-9A-Za-z_\\]|[.-][0-9])"
)
# In one piece, or in groups: 4-4-4-4, 4-4-4-4-3, 4-6-5, 4-6-4, 6-13. A fifth group of four
# makes it a table of numbers; three digits may also be the code on the back.
_BANK_CARD = re.compile(
    r"(?<![0-9A-Za-z_./$€£¥\\-])"
    r"(?:[2-9][0-9]{12,18}"
    r"|(?<!^[0-9]{4} )(?<![\s,;(][0-9]{4} )"
    r"(?P<groups>[2-9][0-9]{3}([ -])[0-9]{4}\2[0-9]{4}\2[0-9]{4})(?:\2[0-9]{3})?"
    r"(?! [0-9]{4}(?:[\s,;)]|$))"
    r"|3[0-9]{3}([ -])[0-9]{6}\3[0-9]{4,5}"
    r"|6[0-9]{5}[ -][0-9]{13})"
    r"(?![0-9A-Za-z_\\]|[.-][0-9]|,[0-9]{3}(?![0-9-]))"
)
# GB/T 2260, the first two digits: provinces; 81 to 83 on the residence permits of people from
# Hong Kong, Macao and Taiwan.
_PROVINCE = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
# GB 11643-1999, ISO 7064 MOD 11-2.
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_FIRST_YEAR, _LAST_YEAR = 1900, 2049

# ITU-T E.164, annex of assigned country codes: but for 1, which is above.
_COUNTRY_CODE = re.compile(
    "2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|7|8[1246]|9[0-58]|"
    "21[1-368]|22[0-9]|23[0-9]|24[0-9]|25[0-8]|26[0-9]|29[0178]|35[0-9]|37[0-8]|38[0-356789]|"
    "42[013]|50[0-9]|59[0-9]|67[0-9]|68[0-35-9]|69[0-2]|85[02356]|88[06]|96[0-8]|97[0-7]|99[2-68]"
)


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of telephone numbers in a stretch of text in plain ASCII.

    International ones with a plus; without it Chinese mobile and fixed-line ones, Japanese
    and North American ones in their groups; not those set aside for fiction (555-0100 to
    555-0199).
    """
    for needed, pattern, plausible in _PHONE_PATTERNS:
        if needed in text:
            for match in _search(pattern, text, plausible):
                yield match.span()


def find_chinese_ids(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of Chinese identity numbers: province, birthday and check digit right."""
    for match in _search(_CHINESE_ID, text, _is_chinese_id):
        yield match.span()


def find_bank_cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of bank cards: an issuer's prefix of its length, and Luhn's check."""
    for match in _search(_BANK_CARD, text, _is_bank_card):
        yield match.start(), match.end(0 if _is_card_number(match[0]) else "groups")


def has_luhn_check(digits: str) -> bool:
    """Return whether the last digit is Luhn's check (ISO/IEC 7812-1, annex B)."""
    odd = sum(int(digit) for digit in digits[-1::-2])
    return (odd + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


def has_id_check(digits: str) -> bool:
    """Return whether 17 digits carry their check (GB 11643-1999: ISO 7064 MOD 11-2)."""
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, digits[:17], strict=True))
    return _ID_CHECKS[total % 11] == digits[17].upper()


def _search(
    pattern: re.Pattern[str], text: str, accepts: Callable[[re.Match[str]], bool]
) -> Iterator[re.Match[str]]:
    """Yield what matches and is accepted; what is refused may hide another match within."""
    position = 0
    while (match := pattern.search(text, position)) is not None:
        if accepts(match):
            yield match
            position = match.end()
        else:
            position = match.start() + 1


def _is_chinese_id(match: re.Match[str]) -> bool:
    digits = "".join(match.groups())
    return bool(_PROVINCE.match(digits)) and _is_birthday(match[2]) and has_id_check(digits)


def _is_bank_card(match: re.Match[str]) -> bool:
    return _is_card_number(match[0]) or _is_card_number(match["groups"] or "")


def _is_card_number(text: str) -> bool:
    digits = _digits_of(text)
    return bool(digits) and _is_issued(digits) and has_luhn_check(digits)


def _is_birthday(digits: str) -> bool:
    try:
        day = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return _FIRST_YEAR <= day.year <= _LAST_YEAR


def _is_issued(digits: str) -> bool:
    """Return whether an issuer gives out numbers with this prefix and of this length.

    Prefixes of ISO/IEC 7812: Visa 4, Mastercard 51-55 and 2221-2720, American Express 34 and
    37, Diners 300-305, 36, 38 and 39, JCB 3528-3589, UnionPay 62 and 81, Discover 6011,
    644-649 and 65, Mir 2200-2204; and the older 955x of Chinese banks.
    """
    length, four = len(digits), int(digits[:4])
    if digits[0] == "4":
        return length in (13, 16, 19)
    if digits[:2] in ("34", "37"):
        return length == 15
    if 5100 <= four <= 5599 or 2221 <= four <= 2720:
        return length == 16
    if 3000 <= four <= 3059 or digits[:2] in ("36", "38", "39"):
        return length == 14
    if four == 6011 or 6440 <= four <= 6599 or 2200 <= four <= 2204 or 3528 <= four <= 3589:
        return 16 <= length <= 19
    if digits[:2] in ("62", "81"):
        return 16 <= length <= 19
    return digits[:3] == "955" and length in (16, 19)


def _is_round(digits: str) -> bool:
    """Return whether these are rather an amount, or filled in: 15000000000, 18888888888."""
    return len(set(digits[-6:])) == 1


def _is_domestic(match: re.Match[str]) -> bool:
    return not _is_round(_digits_of(match[1]))


def _is_japanese(match: re.Match[str]) -> bool:
    digits = _digits_of(match[1])
    return len(digits) == (11 if digits[2] == "0" else 10) and not _is_round(digits)


def _is_north_american(match: re.Match[str]) -> bool:
    return not _FICTIONAL.search(_digits_of(match[1]))


def _is_international(match: re.Match[str]) -> bool:
    digits = _digits_of(match[1])
    if not 8 <= len(digits) <= 15 or _is_round(digits):
        return False
    # Eight or nine digits in one piece behind a plus are a difference or an offset.
    in_groups = len(digits) < len(match[1])
    return bool(_COUNTRY_CODE.match(digits)) and (in_groups or len(digits) >= 10)


def _digits_of(number: str) -> str:
    return re.sub("[^0-9Xx]", "", number)


# What must be in the text, cheap to look for, beside each pattern.
_PHONE_PATTERNS = (
    ("1", _CHINESE_MOBILE, _is_domestic),
    ("0", _CHINESE_FIXED, _is_domestic),
    ("-", _JAPANESE, _is_japanese),
    ("-", _NORTH_AMERICAN, _is_north_american),
    ("+", _NORTH_AMERICAN_PLUS, _is_north_american),
    ("+", _INTERNATIONAL, _is_international),
)
