"""Finds keys, tokens and passwords in a text.

Providers that give their keys a fixed shape make them findable with next to no false alarms: one
pattern a provider, tried only where its keyword stands in a long word (so an ordinary text costs
next to nothing). Every pattern starts where no key character stands before it and never gives
characters back, so a hostile text costs linear time too.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

STARTS = r"(?<![A-Za-z0-9_-])"
ENDS = r"(?![A-Za-z0-9_-])"
KEY_CHARS_MIN = 15
GENERIC_BITS_MIN = 3.5
_URL_SAFE = "[A-Za-z0-9_-]"
_ALNUM = "[A-Za-z0-9]"


@dataclass(frozen=True)
class Shape:
    """How a provider's keys look. `keywords`: without one of them in the text the pattern is not
    tried.
    """

    name: str
    keywords: tuple[str, ...]
    pattern: re.Pattern[str]


def _key(name: str, keyword: str, rest: str) -> Shape:
    """A key that begins with `keyword`, and goes on as `rest` says."""
    return Shape(name, (keyword,), re.compile(STARTS + re.escape(keyword) + rest + ENDS))


def _keys(name: str, keywords: tuple[str, ...], rest: str) -> Shape:
    begin = "|".join(map(re.escape, keywords))
    return Shape(name, keywords, re.compile(f"{STARTS}(?:{begin}){rest}{ENDS}"))


SHAPES = (
    _keys("aws_access_key", ("AKIA", "ASIA", "ABIA", "ACCA"), "[A-Z2-7]{16}"),
    _keys("github_token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), f"{_ALNUM}{{36,255}}+"),
    _key("github_token", "github_pat_", r"\w{82}"),
    _keys(
        "gitlab_token",
        ("glpat-", "gldt-", "glrt-", "glptt-", "glsoat-", "glft-", "glcbt-"),
        r"[A-Za-z0-9_.-]{20,200}+",
    ),
    _keys(
        "slack_token",
        ("xoxb-", "xoxp-", "xoxa-", "xoxe-", "xoxo-", "xoxr-", "xoxs-"),
        r"[A-Za-z0-9-]{10,250}+",
    ),
    _key("slack_token", "xapp-", r"\d-[A-Z0-9]{5,20}-\d{5,20}-[a-f0-9]{10,128}+"),
    _key(
        "slack_webhook",
        "hooks.slack.com/",
        r"(?:services|workflows|triggers)/[A-Za-z0-9+/]{30,100}+",
    ),
    _keys("openai_key", ("sk-proj-", "sk-svcacct-", "sk-admin-"), f"{_URL_SAFE}{{40,250}}+"),
    Shape(
        "openai_key",
        ("T3BlbkFJ",),
        re.compile(f"{STARTS}sk-{_ALNUM}{{20}}T3BlbkFJ{_ALNUM}{{20}}{ENDS}"),
    ),
    _key("openrouter_key", "sk-or-v1-", "[0-9a-f]{64}"),
    _key("anthropic_key", "sk-ant-", rf"(?:api|admin|sid|oat)\d\d-{_URL_SAFE}{{40,200}}+"),
    _key("google_api_key", "AIza", f"{_URL_SAFE}{{35}}"),
    _key("google_oauth_secret", "GOCSPX-", f"{_URL_SAFE}{{28}}"),
    _key("google_oauth_token", "ya29.", f"{_URL_SAFE}{{20,2000}}+"),
    _keys(
        "stripe_key",
        ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_prod_", "rk_prod_"),
        f"{_ALNUM}{{10,250}}+",
    ),
    _key("stripe_webhook_secret", "whsec_", "[A-Za-z0-9+/=]{32,100}+"),
    _key("twilio_key", "SK", "[0-9a-f]{32}"),
    _key("sendgrid_key", "SG.", rf"{_URL_SAFE}{{22}}\.{_URL_SAFE}{{43}}"),
    _key("mailgun_key", "key-", "[0-9a-f]{32}"),
    Shape("mailchimp_key", ("-us",), re.compile(rf"{STARTS}[0-9a-f]{{32}}-us\d{{1,2}}{ENDS}")),
    _key("npm_token", "npm_", f"{_ALNUM}{{36}}"),
    _key("pypi_token", "pypi-AgEI", f"{_URL_SAFE}{{50,1000}}+"),
    _key("huggingface_token", "hf_", f"{_ALNUM}{{34,40}}+"),
    _key("huggingface_token", "api_org_", f"{_ALNUM}{{34}}"),
    _keys("digitalocean_token", ("dop_v1_", "doo_v1_", "dor_v1_"), "[0-9a-f]{64}"),
    _keys("shopify_token", ("shpat_", "shpca_", "shppa_", "shpss_"), "[0-9a-fA-F]{32}"),
    Shape("azure_storage_key", ("AccountKey=",), re.compile(r"AccountKey=[A-Za-z0-9+/]{86}==")),
    Shape(
        "azure_client_secret",
        ("Q~",),
        re.compile(r"(?<![\w.~-])[\w.~-]{3}\dQ~[\w.~-]{31,34}(?![\w.~-])"),
    ),
    Shape(
        "telegram_token",
        (":A",),
        re.compile(f"(?<![0-9A-Za-z])[0-9]{{8,10}}:A{_URL_SAFE}{{34}}{ENDS}"),
    ),
    Shape(
        "discord_webhook",
        ("api/webhooks/",),
        re.compile(f"discord(?:app)?\\.com/api/webhooks/[0-9]{{15,25}}/{_URL_SAFE}{{60,80}}+"),
    ),
    _key("databricks_token", "dapi", "[0-9a-f]{32}(?:-[0-9])?"),
    _keys(
        "doppler_token",
        ("dp.pt.", "dp.st.", "dp.ct."),
        r"(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}+",
    ),
    _keys("vault_token", ("hvs.", "hvb."), f"{_URL_SAFE}{{80,300}}+"),
    Shape(
        "terraform_token",
        (".atlasv1.",),
        re.compile(rf"{STARTS}{_ALNUM}{{14}}\.atlasv1\.[A-Za-z0-9=_-]{{60,70}}+"),
    ),
    _key("grafana_token", "glsa_", f"{_ALNUM}{{32}}_[0-9a-fA-F]{{8}}"),
    _key("grafana_token", "glc_", "[A-Za-z0-9+/]{32,400}+={0,3}"),
    _key("newrelic_key", "NRAK-", "[A-Z0-9]{27}"),
    _key("postman_key", "PMAK-", "[0-9a-f]{24}-[0-9a-f]{34}"),
    _key("linear_key", "lin_api_", f"{_ALNUM}{{40}}"),
    _key("notion_token", "ntn_", f"[0-9]{{11}}{_ALNUM}{{35}}"),
    _key("planetscale_token", "pscale_", r"(?:tkn|oauth|pw)_[\w=.-]{32,64}+"),
    _keys("square_token", ("sq0atp-", "sq0csp-"), f"{_URL_SAFE}{{22,60}}+"),
    _key("groq_key", "gsk_", f"{_ALNUM}{{52}}"),
    _key("perplexity_key", "pplx-", f"{_ALNUM}{{48}}"),
    _key("replicate_token", "r8_", f"{_ALNUM}{{37}}"),
    _key("xai_key", "xai-", f"{_ALNUM}{{70,90}}+"),
    _key("age_key", "AGE-SECRET-KEY-1", "[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),
    _key(
        "jwt",
        "eyJ",
        rf"{_URL_SAFE}{{14,8000}}+\.eyJ{_URL_SAFE}{{14,8000}}+\.{_URL_SAFE}{{16,8000}}+",
    ),
)
_SHAPES_OF = {
    word: [shape for shape in SHAPES if word in shape.keywords]
    for shape in SHAPES
    for word in shape.keywords
}
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]{0,16000}+-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s]{0,16000}+)"
)
_URL_PASSWORD = re.compile(r"://[^\s:/@\"'<>]{1,100}+:([^\s:/@\"'<>]{3,100}+)@")
_ASSIGNED = re.compile(
    r"(?:[=:]>?|是|为|為|は|가|이|은|는|\bis\b)\s{0,3}[\"']?"
    r"([A-Za-z0-9_+/=.~-]{12,200}+)(?![A-Za-z0-9_+/=.~-])"
)
_ASSIGNED_CHARS_MIN = 16
_PASSWORD = (
    r"passw(?:or)?d|passcode|pwd|passwort|kennwort|contraseña|mot de passe|senha|wachtwoord|hasło|"
    r"lösenord|adgangskode|şifre|parola|пароль|密码|密碼|口令|パスワード|暗証番号|비밀번호|암호|"
    r"पासवर्ड|รหัสผ่าน|كلمة المرور|كلمة السر|סיסמה|סיסמא|mật khẩu"
)
_ASSIGNED_TO_PASSWORD = re.compile(rf"(?:{_PASSWORD})[\"']?\s{{0,3}}:?$", re.IGNORECASE)
"""What follows such a word is a password also where it is short."""
_ASSIGNED_TO = re.compile(
    r"(?:api|auth|access|secret|client|private|token|credential|密钥|密鑰|秘钥|令牌|トークン|秘密|키|토큰|"
    rf"ключ|токен|секрет|schlüssel|clave|chave|clé|{_PASSWORD})[\w.-]{{0,30}}[\"']?\s{{0,3}}:?$",
    re.IGNORECASE,
)
_ASSIGNED_TO_CHARS = 50
_SAMPLE = re.compile(
    r"x{4}|\*{3}|\.{3}|example|sample|dummy|changeme|placeholder|your[_-]|password|<|\$\{|1234567890?",
    re.IGNORECASE,
)


def find_credentials(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, name of the shape) of each, maybe overlapping and in no order."""
    long_words = "\n".join([word for word in text.split() if len(word) >= KEY_CHARS_MIN])
    here = [keyword for keyword in _SHAPES_OF if keyword in long_words] if long_words else ()
    for shape in dict.fromkeys(shape for keyword in here for shape in _SHAPES_OF[keyword]):
        for match in shape.pattern.finditer(text):
            yield match.start(), match.end(), shape.name
    if "PRIVATE KEY" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield match.start(), match.end(), "private_key"
    if "://" in text and "@" in text:
        for match in _URL_PASSWORD.finditer(text):
            if not _SAMPLE.search(match[1]) and len(set(match[1])) > 3:
                yield match.start(1), match.end(1), "url_password"
    for match in _ASSIGNED.finditer(text):
        before = text[max(0, match.start() - _ASSIGNED_TO_CHARS) : match.start()]
        short = len(match[1]) < _ASSIGNED_CHARS_MIN
        named = _ASSIGNED_TO_PASSWORD if short else _ASSIGNED_TO
        if _looks_random(match[1]) and named.search(before):
            yield match.start(1), match.end(1), "assigned_secret"


def _looks_random(value: str) -> bool:
    """Letters and digits, many different ones, and no sign of a sample or of code (`os.environ`,
    `config.token`).
    """
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)) or _SAMPLE.search(
        value
    ):
        return False
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
    return bits >= GENERIC_BITS_MIN
