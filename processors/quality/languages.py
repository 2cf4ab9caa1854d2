"""Guesses the language and rough topic of a request, without storing a word of it.

By words that every text of a language is full of, and by the longest of the others. Good enough to
see that a mix has moved, from one hour to the next; a single short question may be taken for
another language.
"""

import re
from hashlib import blake2b

WORDS = re.compile(r"[^\W\d_]+")
LOOKED_AT = 100
"""So many words of a text tell its language and its subject."""
SUBJECTS = 32
COMMON = {
    language: frozenset(words.split())
    for language, words in {
        "de": "der die das und ist nicht ich wir sie ein eine einen mit auf für von dem den zu wie "
        "was wo wann kann meine mein bitte",
        "en": "the and is not you we they of to in for with on my what where when how can please "
        "are was it this that have",
        "es": "el la los las y es no una un con por para de que dónde cuándo cómo puedo mi por "
        "favor está del al se",
        "fr": "le la les et est pas je vous nous une un avec pour dans des du de que où quand "
        "comment puis mon ma merci sur au",
        "it": "il lo la gli e è non io una un con per di che dove quando come posso mio mia grazie "
        "del della sono nel",
        "nl": "de het een en is niet ik wij jullie met op voor van dat waar wanneer hoe kan mijn "
        "alstublieft naar zijn aan",
        "pl": "i nie jest się na z do w że jak gdzie kiedy czy mój moja proszę dla po jestem od są "
        "ten",
        "pt": "o a os as e é não uma um com por para de que onde quando como posso meu minha "
        "obrigado está do da no na",
    }.items()
}
ANYWHERE = frozenset().union(*COMMON.values())


def language(text: str, written_in: str) -> str:
    """The language of a text in Latin letters, by ISO 639-1, `other` where none is known; of others
    their script.
    """
    if written_in != "latin":
        return written_in
    words = set(words_of(text))
    hits = {name: len(words & common) for name, common in COMMON.items()}
    best = max(sorted(hits), key=hits.__getitem__)
    return best if hits[best] else "other"


def subject(text: str) -> str:
    """One of 32 groups, by the longest word that is not one of those that every text has; the same
    word, the same one.
    """
    words = [word for word in words_of(text) if word not in ANYWHERE]
    if not words:
        return "none"
    telling = max(sorted(words), key=len)
    return f"w{blake2b(telling.encode(), digest_size=1).digest()[0] % SUBJECTS:02d}"


def words_of(text: str) -> list[str]:
    return [
        found[0].lower()
        for found, _ in zip(WORDS.finditer(text[: LOOKED_AT * 50]), range(LOOKED_AT), strict=False)
    ]
