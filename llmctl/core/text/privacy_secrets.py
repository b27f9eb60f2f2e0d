"""Keys and tokens of well-known services, by the shape that each gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A key's own prefix, then how many of which characters follow. The prefixes are those of the
# services' own pages and of the lists that scanners of secrets keep: GitHub's "Supported
# secret scanning patterns", gitleaks' config/gitleaks.toml, detect-secrets' plugins.
_SHAPES = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # AWS: IAM identifiers, "unique identifiers"
    r"gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub: "About authentication to GitHub"
    r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|soat|agent)-[A-Za-z0-9_-]{20,}",  # GitLab: token prefixes
    r"xox[abeprs]-[A-Za-z0-9-]{10,}",  # Slack: token types
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,247}",  # Stripe: API keys
    r"sk-ant-[A-Za-z0-9_-]{20,}",  # Anthropic
    r"sk-or-v1-[0-9a-f]{64}",  # OpenRouter
    r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}",  # OpenAI
    r"sk-[A-Za-z0-9]{32,64}",  # OpenAI of old, and those who took its shape: DeepSeek, Moonshot
    r"AIza[A-Za-z0-9_-]{35}",  # Google: API keys
    r"GOCSPX-[A-Za-z0-9_-]{28}",  # Google: OAuth client secrets
    r"hf_[A-Za-z0-9]{34,40}",  # Hugging Face
    r"npm_[A-Za-z0-9]{36}",  # npm
    r"pypi-AgE[A-Za-z0-9_-]{50,}",  # PyPI: macaroons, "AgE" being their first bytes
    r"LTAI[A-Za-z0-9]{12,26}",  # Aliyun: AccessKey ID
    r"AKID[A-Za-z0-9]{32}",  # Tencent Cloud: SecretId
    r"AKLT[A-Za-z0-9_-]{20,60}",  # Volcengine: Access Key ID
    r"gsk_[A-Za-z0-9]{52}",  # Groq
    r"xai-[A-Za-z0-9]{80}",  # xAI
    r"nvapi-[A-Za-z0-9_-]{60,70}",  # NVIDIA
    r"r8_[A-Za-z0-9]{37}",  # Replicate
    r"dop_v1_[0-9a-f]{64}",  # DigitalOcean
    r"dckr_pat_[A-Za-z0-9_-]{27}",  # Docker Hub
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
)
_TOKEN = re.compile(f"(?<![A-Za-z0-9_-])(?:{'|'.join(_SHAPES)})(?![A-Za-z0-9_])")
# Of two or three parts with dots between; how many characters stand before the part that is
# long enough to be noticed, and the whole.
_DOTTED = (
    (5, re.compile(r"(?<![A-Za-z0-9_])ya29\.[A-Za-z0-9_-]{20,}")),  # Google: OAuth access token
    (26, re.compile(r"(?<![A-Za-z0-9_])SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")),  # SendGrid
)
# JSON Web Token: header and payload begin with `{"` in base64url (RFC 7519, section 3).
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?![A-Za-z0-9_-])")
_KEY_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
# The body in lines, or in one line with `\n` written out.
_KEY_LINES = re.compile(r"(?:(?:\s|\\[nr]){1,9}[A-Za-z0-9+/=]{16,})++")
# The longest in use, RSA of 16,384 bits, has 12,500 characters.
_MAX_KEY_CHARACTERS = 16_000
# Known by what stands in them or before them. One of these words must be in the text.
_BY_WORD = (
    # Azure: key of a storage account.
    (("AccountKey=",), re.compile(r"AccountKey=(?P<key>[A-Za-z0-9+/]{86}==)")),
    # Azure: secret of an application, a digit and Q~ after three characters.
    (
        ("Q~",),
        re.compile(r"(?<![A-Za-z0-9_.~-])(?P<key>[A-Za-z0-9_.~-]{3}[0-9]Q~[A-Za-z0-9_.~-]{31,34})"),
    ),
    # AWS: secret access key, forty characters behind their usual name.
    (
        ("ecret_access_key", "ecretAccessKey", "SECRET_ACCESS_KEY"),
        re.compile(
            r"(?i:secret_?access_?key)[\"']?\s?[:=]{1,2}>?\s?[\"']?"
            r"(?P<key>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
    ),
    # Slack: address that posts to a channel.
    (
        ("hooks.slack.com/",),
        re.compile(r"hooks\.slack\.com/(?P<key>services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{20,})"),
    ),
)


def find_tokens(text: str, stretches: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    """Yield the spans of keys and tokens in stretches of letters, digits, `_` and `-`."""
    for begin, end in stretches:
        start = begin + len(text[begin:end]) - len(text[begin:end].lstrip("_-"))
        match = _JWT.match(text, start) or _TOKEN.match(text, start, end)
        if match is None and text[start - 1 : start] == ".":
            dotted = (pattern.match(text, max(0, start - offset)) for offset, pattern in _DOTTED)
            match = next(filter(None, dotted), None)
        if match is not None:
            yield match.span()


def find_by_words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of private keys and of secrets known by the words around them."""
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    for words, pattern in _BY_WORD:
        if any(word in text for word in words):
            for match in pattern.finditer(text):
                yield match.span("key")


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    while (begin := _KEY_BEGIN.search(text, position)) is not None:
        position = begin.end()
        limit = position + _MAX_KEY_CHARACTERS
        end = text.find("-----", position, limit)
        closing = _KEY_END.match(text, end) if end >= 0 else None
        if closing is not None and _KEY_LINES.search(text, position, end):
            position = closing.end()
        elif closing is None and (lines := _KEY_LINES.match(text, position, limit)) is not None:
            position = lines.end()
        else:
            continue
        yield begin.start(), position
