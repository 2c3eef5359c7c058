"""Chinese words: jieba with its own dictionary, read once."""

from functools import cache
from typing import Any


def words(text: str) -> list[str]:
    """A text cut into words; what is not Chinese in it is cut at spaces and marks."""
    return [word for word in _tokenizer().cut(text) if not word.isspace()]


@cache
def _tokenizer() -> Any:
    from jieba import Tokenizer

    tokenizer = Tokenizer()
    # Not `initialize`: it keeps its tables in the folder for temporary files, where anybody could have put others.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer
