"""A language model of this machine: a tiny one that learned one answer by heart, and one that learned nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from infra.clock import ManualClock
from infra.errors import AnswerUnusable, LlmRefused
from infra.llm import Question
from infra.llm_limits import Budget
from models.enrichment import Counts, Enricher
from models.enrichment_local import LocalModel, whole_object
from models.enrichment_prompt import question_of
from models.enrichment_reading import reading_of
from models.enrichment_store import EnrichmentStore
from tests.models.enriching import answer_of, item

READING = reading_of(item("Red Cotton Dress"))
ANSWER = answer_of(READING)
LENGTH = 2048


def make(folder: Path, steps: int) -> str:
    """A causal model of one layer, with a tokenizer in which question and answer are few tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    question = question_of(READING)
    prompt = f"{question.system}\n\n{question.user}\n\n"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, special_tokens=["<end>"])
    tokenizer.train_from_iterator([prompt, ANSWER] * 2, trainer)
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.eos_token_id,
    )
    model: Any = LlamaForCausalLM(config)
    tokens = fast(prompt, return_tensors="pt")["input_ids"]
    answer = fast(f"{ANSWER}<end>", return_tensors="pt")["input_ids"]
    whole = torch.cat([tokens, answer], 1)
    labels = whole.clone()
    labels[:, : tokens.shape[1]] = -100
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(steps):
        loss = model(input_ids=whole, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make(tmp_path_factory.mktemp("learned"), 60)


@pytest.fixture(scope="module")
def ignorant(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make(tmp_path_factory.mktemp("ignorant"), 0)


def enriched(folder: Path, model: LocalModel) -> tuple[Counts, Any]:
    with EnrichmentStore(folder) as store:
        enricher = Enricher(store, model, ManualClock(1))
        counts = asyncio.run(enricher.run(enricher.plan([READING]), lambda _: None))
        return counts, store.of_contents([READING.content_key])[READING.content_key]


def test_a_model_that_knows_the_answer_enriches(tmp_path: Path, learned: str) -> None:
    budget = Budget()
    counts, made = enriched(tmp_path, LocalModel(learned, budget))
    assert (counts.by_model, counts.by_reason) == (1, {})
    assert {one.source for one in made.attributes} == {f"llm:{Path(learned).name}"}
    assert budget.questions == 1
    assert budget.spent.answered > 10


def test_a_model_that_knows_nothing_is_asked_a_bounded_number_of_times(tmp_path: Path, ignorant: str) -> None:
    budget = Budget()
    model = LocalModel(ignorant, budget)
    short = Question("say", "it", {}, "x", 8)
    asyncio.run(model.ask(short))
    assert budget.questions == 3
    assert budget.spent.answered <= 3 * 8
    again = LocalModel(ignorant, Budget())
    assert asyncio.run(again.ask(short)) == asyncio.run(model.ask(short)), "one seed, one answer"


def test_a_question_longer_than_the_model_reads_is_named(ignorant: str) -> None:
    with pytest.raises(AnswerUnusable) as caught:
        asyncio.run(LocalModel(ignorant, Budget()).ask(Question("x" * 9000, "", {}, "x", 8)))
    assert caught.value.reason == "question_too_long"


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(LlmRefused, match="DAOGOU_LLM_MODEL"):
        LocalModel(str(tmp_path), Budget())


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('{"a": {"b": "}"}}', True),
        ('ok {"a": 1} more', True),
        ('{"a": "}', False),
        ('{"a": "\\""', False),
        ("no", False),
    ],
)
def test_where_an_object_ends(text: str, whole: bool) -> None:
    assert whole_object(text) == whole
