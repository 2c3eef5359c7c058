"""A causal model tuned on what the shop wrote itself: prompts and the copy or answers that belong to them.

Low-rank adapters (LoRA, through peft) learn; the model's own weights stay. Only the tokens of the answer count. The
adapters are merged at the end, so that the folder is an ordinary transformers model, for DAOGOU_LLM_MODEL, too.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from infra.errors import BadInput, Conflict, NotFound, Refused
from models.copy_metrics import bleu, grounded_share
from models.text_encoder import Progress
from models.text_pairs import lines_of
from models.text_transformer import opened
from models.text_tuning import REPORT, written

LEAST: Final = 10
_SCALE: Final = 2
_DROPOUT: Final = 0.05


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt, the text that belongs to it, and the facts that its numbers must come from; none: the prompt."""

    prompt: str
    text: str
    facts: str = ""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to tune: `rank` of the adapters; `tokens` that a prompt with its answer may have; `answer` tokens written."""

    epochs: int = 3
    batch: int = 4
    rate: float = 2e-4
    rank: int = 8
    tokens: int = 512
    answer: int = 128
    held: float = 0.1
    most_judged: int = 100
    seed: int = 1


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Perplexity of an answer's token; BLEU, 0 to 100; the share of outputs whose numbers are all among the facts."""

    perplexity: float
    bleu: float
    grounded: float


class CopyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned from, and how held-out answers are written before and after."""

    model: str
    learned: int
    judged: int
    trained_weights: int
    options: Options
    before: Judged
    after: Judged


def examples_of(file: Path) -> list[Example]:
    """The examples of a file of JSON lines: `{"prompt": "…", "text": "…", "facts": "…"}`, facts as wanted.

    Raises:
        NotFound: there is no such file.
        Undecodable: a line is no such object; the message says which.
        BadInput: there are too few, or one has no text (`no_text`).
    """
    found = lines_of(file, Example)
    for number, one in enumerate(found, 1):
        if not one.text.strip() or not one.prompt.strip():
            raise BadInput(
                f"{file}, example {number}: prompt or text is empty", path=f"example {number}", code="no_text"
            )
    if len(found) < LEAST:
        raise BadInput(f"{file}: {len(found)} examples; {LEAST} are the least to learn from", code="too_few_examples")
    return found


def tune_copy(
    setting: str, examples: Sequence[Example], options: Options, out: Path, progress: Progress, *, anyway: bool = False
) -> CopyReport:
    """Tune the model that `setting` names, judge it by examples that are held out, and write it into `out`.

    Args:
        setting: a causal transformers model, name or folder.
        examples: of the shop.
        options: how.
        out: a folder that is not there yet.
        progress: hears how many more examples were learned from.
        anyway: write it even if its perplexity is no better.

    Raises:
        Conflict: `out` is there.
        NotFound: there is no such model, or peft is not installed.
        ArtifactBroken: the model is incomplete.
        Refused: it learned nothing, or went astray; nothing is written.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if out.exists():
        raise Conflict(f"{out} is there already: give --out a folder that is not", path="out")
    model, tokenizer = opened(AutoModelForCausalLM, setting, "model")
    order = np.random.default_rng(options.seed).permutation(len(examples)).tolist()
    many = max(round(len(examples) * options.held), 1)
    held, learned = [examples[at] for at in order[:many]], [examples[at] for at in order[many:]]
    held = held[: options.most_judged]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        before = judged(model, tokenizer, held, options)
        adapted = _adapted(model, options.rank)
        trained = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
        _learn(adapted, tokenizer, learned, options, progress)
        merged = adapted.merge_and_unload()
        after = judged(merged, tokenizer, held, options)
    report = CopyReport(
        model=Path(setting).name,
        learned=len(learned),
        judged=len(held),
        trained_weights=trained,
        options=options,
        before=before,
        after=after,
    )
    if after.perplexity >= before.perplexity and not anyway:
        raise Refused(
            f"tuned, it is no better on held-out examples (perplexity {before.perplexity:.2f} before, "
            f"{after.perplexity:.2f} after); nothing is written. --anyway writes it all the same",
            code="not_better",
        )

    def save(folder: Path) -> None:
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))

    written(out, save)
    return report


def judged(model: Any, tokenizer: Any, held: Sequence[Example], options: Options) -> Judged:
    """Of the likeliest answers to held-out prompts."""
    import torch

    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in _batches(tokenizer, held, options):
            tokens = int((batch["labels"] != -100).sum())
            total += float(model(**batch).loss) * tokens
            count += tokens
        outputs = [_answer(model, tokenizer, one.prompt, options) for one in held]
    return Judged(
        perplexity=math.exp(min(total / max(count, 1), 700.0)),
        bleu=bleu(outputs, [one.text for one in held]),
        grounded=grounded_share(outputs, [one.facts or one.prompt for one in held]),
    )


def _answer(model: Any, tokenizer: Any, prompt: str, options: Options) -> str:
    import torch

    asked = torch.tensor([_prompt(tokenizer, prompt, options.tokens - options.answer)])
    given = model.generate(
        input_ids=asked,
        attention_mask=torch.ones_like(asked),
        max_new_tokens=options.answer,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return str(tokenizer.decode(given[0, asked.shape[1] :], skip_special_tokens=True)).strip()


def _adapted(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise NotFound("peft is not installed: install daogou[tuning]", path="peft") from None
    config = LoraConfig(
        r=rank,
        lora_alpha=_SCALE * rank,
        lora_dropout=_DROPOUT,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _learn(model: Any, tokenizer: Any, learned: Sequence[Example], options: Options, progress: Progress) -> None:
    import torch

    draw = np.random.default_rng(options.seed)
    weights = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=options.rate)
    model.train()
    for _ in range(options.epochs):
        order = draw.permutation(len(learned)).tolist()
        for batch in _batches(tokenizer, [learned[at] for at in order], options):
            loss = model(**batch).loss
            if not torch.isfinite(loss):
                raise Refused("tuning went astray: the loss is no number; give a lower --rate", code="diverged")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            progress(len(batch["input_ids"]))


def _batches(tokenizer: Any, examples: Sequence[Example], options: Options) -> Iterator[dict[str, Any]]:
    """Prompts with their answers, padded behind; the labels of prompt and padding are -100: they do not count."""
    import torch

    for begin in range(0, len(examples), options.batch):
        rows = []
        for one in examples[begin : begin + options.batch]:
            answer = tokenizer(one.text, add_special_tokens=False)["input_ids"]
            answer = [*answer[: options.answer - 1], tokenizer.eos_token_id]
            rows.append((_prompt(tokenizer, one.prompt, options.tokens - len(answer)), answer))
        longest = max(len(asked) + len(answer) for asked, answer in rows)
        shape = (len(rows), longest)
        ids = torch.full(shape, tokenizer.pad_token_id)
        labels, mask = torch.full(shape, -100), torch.zeros(shape, dtype=torch.long)
        for row, (asked, answer) in enumerate(rows):
            end = len(asked) + len(answer)
            ids[row, :end] = torch.tensor([*asked, *answer])
            labels[row, len(asked) : end] = torch.tensor(answer)
            mask[row, :end] = 1
        yield {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _prompt(tokenizer: Any, prompt: str, most: int) -> list[int]:
    """The tokens of a prompt and of the line's end behind it; of a long one the end is kept."""
    ids: list[int] = tokenizer(f"{prompt.strip()}\n", add_special_tokens=False)["input_ids"][-most:]
    begin = tokenizer.bos_token_id
    return ids if begin is None else [begin, *ids[-(most - 1) :]]
