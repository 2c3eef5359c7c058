"""Tiny transformers models and their tokenizers, made on the spot: nothing is downloaded."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def bert(folder: Path, texts: Sequence[str], *, width: int = 32, seed: int = 1) -> str:
    """An untrained encoder whose words are those of the texts, each Chinese character one word. Its folder."""
    tokenizer = _words(texts)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def llama(folder: Path, texts: Sequence[str], *, steps: int, width: int = 32, seed: int = 1) -> str:
    """A causal model whose tokens are the characters of the texts, and which has read them some. Its folder."""
    letters = sorted({letter for text in texts for letter in text})
    tokenizer = _characters(letters)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    model = LlamaForCausalLM(config)
    _read(model, tokenizer, texts, steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _read(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], steps: int) -> None:
    batch = tokenizer([f"[BOS]{text}[EOS]" for text in texts], padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        told = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels)
        told.loss.backward()
        optimizer.step()


def _words(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    normal = normalizers.BertNormalizer(handle_chinese_chars=True, lowercase=True)
    split = pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in texts for word, _ in split.pre_tokenize_str(normal.normalize_str(text))})
    vocabulary = {word: at for at, word in enumerate([*_SPECIAL, *words])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normal, split
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def _characters(letters: Sequence[str]) -> PreTrainedTokenizerFast:
    vocabulary = {letter: at for at, letter in enumerate(["[PAD]", "[UNK]", "[BOS]", "[EOS]", *letters])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]", eos_token="[EOS]"
    )
