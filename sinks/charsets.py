"""The text of a body, in the charset that it declares.

A byte-order mark decides, then the charset of the content type, then the declaration of an XML
document; without any of them, or with a charset that does not exist, it is UTF-8. JSON is Unicode
whatever is declared. Names mean what browsers take them for: ISO-8859-1 is windows-1252.
"""

import codecs
import json
import re

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks; that of UTF-32 begins with that of UTF-16."""
WIDER = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
"""What is written under these names has the characters of the wider charset in it."""
NO_CHARSETS = {"unicode-escape", "raw-unicode-escape", "idna", "punycode", "utf-7", "undefined"}
"""Codecs of Python that are no charsets."""
CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([^"';,\s]+)""", re.IGNORECASE)
XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})""")
DEFAULT = "utf-8"


def text_of(body: bytes, content_type: str = "") -> str:
    """The text of a body with this `content-type`; what is not valid in it is replaced."""
    for mark, encoding in MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    kind = content_type.partition(";")[0].strip().lower()
    if "json" in kind:
        return body.decode(json.detect_encoding(body), "replace")
    return body.decode(_declared(body, kind, content_type), "replace")


def _declared(body: bytes, kind: str, content_type: str) -> str:
    """The charset that is declared, as Python names it."""
    declared = CHARSET.search(content_type)
    if declared:
        return codec_of(declared[1])
    in_xml = XML_ENCODING.match(body[:300]) if "xml" in kind or not kind else None
    return codec_of(in_xml[1].decode("ascii")) if in_xml else DEFAULT


def codec_of(charset: str) -> str:
    """Python's codec for a charset; that of UTF-8 where there is none."""
    try:
        name = codecs.lookup(charset).name
        b"a".decode(name, "replace")
    except (LookupError, ValueError):  # unknown, not of text, or no name at all
        return DEFAULT
    if name.replace("_", "-") in NO_CHARSETS:
        return DEFAULT
    return WIDER.get(name, name)
