"""A causal language model of this machine, by transformers: asked like one behind HTTP, one question at a time."""

import asyncio
from typing import Any, Final

from infra.errors import AnswerUnusable, LlmRefused
from infra.llm import Question, Reply
from infra.llm_limits import Budget, Usage

_ATTEMPTS: Final = 3
"""The likeliest answer, then drawn ones, until one is a whole JSON object."""

_TEMPERATURE: Final = 0.7


class LocalModel:
    """A model and its tokenizer, by name or folder.

    Args:
        named: as transformers takes it.
        budget: counts tokens; with a limit it is kept.
        seed: of drawn answers.

    Raises:
        LlmRefused: there is no such model (`llm_no_model`).
    """

    def __init__(self, named: str, budget: Budget, seed: int = 1) -> None:
        from pathlib import Path

        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(named)
            self._model: Any = AutoModelForCausalLM.from_pretrained(named)
            self._model.eval()  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise LlmRefused(
                f"DAOGOU_LLM_MODEL = {named!r}: no causal model that transformers can read ({type(error).__name__}); "
                "without DAOGOU_LLM_URL it names a model or folder of this machine",
                path="llm_model",
                code="llm_no_model",
            ) from None
        self.name = Path(named).name
        self.budget = budget
        self._seed = seed
        self._turn = asyncio.Lock()

    async def ask(self, question: Question) -> Reply:
        """The first answer that is a whole JSON object; the last one, if none is.

        Raises:
            AnswerUnusable: the question is longer than the model reads (`question_too_long`).
            BudgetSpent: as `Budget.hold`.
        """
        async with self._turn:
            asked = self._tokens(question)
            reply = Reply("", Usage())
            for attempt in range(_ATTEMPTS):
                with await self.budget.hold(Usage(asked["input_ids"].shape[1], question.max_tokens)) as hold:
                    text, tokens = await asyncio.to_thread(self._generated, asked, question.max_tokens, attempt)
                    hold.used = Usage(asked["input_ids"].shape[1], tokens)
                reply = Reply(text, hold.used)
                if whole_object(text):
                    break
            return reply

    def _tokens(self, question: Question) -> Any:
        messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
        if self._tokenizer.chat_template:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            text = f"{question.system}\n\n{question.user}\n\n"
        tokens = self._tokenizer(text, return_tensors="pt")
        longest = getattr(self._model.config, "max_position_embeddings", None)
        if longest is not None and tokens["input_ids"].shape[1] + question.max_tokens > longest:
            raise AnswerUnusable(
                f"the question is longer than the {longest} tokens of the model", code="question_too_long"
            )
        return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}

    def _generated(self, asked: Any, most: int, attempt: int) -> tuple[str, int]:
        import torch
        from transformers import StoppingCriteriaList

        length = asked["input_ids"].shape[1]

        def whole(tokens: Any, _scores: Any, **_: Any) -> Any:
            text = self._tokenizer.decode(tokens[0, length:], skip_special_tokens=True)
            return torch.tensor([whole_object(text)])

        drawn = {"do_sample": True, "temperature": _TEMPERATURE} if attempt else {"do_sample": False}
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed + attempt)
            found = self._model.generate(
                **asked,
                **drawn,
                max_new_tokens=most,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id or 0,
                stopping_criteria=StoppingCriteriaList([whole]),
            )
        answer = found[0, length:]
        return self._tokenizer.decode(answer, skip_special_tokens=True), len(answer)


def whole_object(text: str) -> bool:
    """Whether a JSON object that begins in a text has ended, as far as its braces say."""
    depth, begun, quoted, escaped = 0, False, False, False
    for letter in text:
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = begun
        elif letter in "{}":
            depth += 1 if letter == "{" else -1
            begun = True
            if depth <= 0:
                return True
    return False
