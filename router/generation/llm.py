"""An answer written by a language model from numbered evidence, checked while it is streamed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

from router.errors import DeadlineExceeded, RouterError
from router.generation.base import Generator, GeneratorEvent, Written
from router.generation.citations import CitationChecker, without_citations
from router.generation.closing import ClosingSentence
from router.generation.extractive import NO_SOURCE_NOTICE
from router.generation.pictures import PicturesToShow
from router.generation.prompt import (
    NOT_FOUND,
    Prompt,
    answer_prompt,
    begins_with_not_found,
    says_not_found,
    small_talk_prompt,
    with_pictures,
)
from router.generation.wording import evidence_of_wording
from router.models.base import LanguageModel
from router.settings import GenerationSettings
from router.types import Caller, Deadline, Notice, Query, Retrieval

RESERVE_S = 1.0
"""Kept back of the caller's time, to hand over what is written, or to write the answer another way."""
DOUBT = Notice("MODEL_DOUBTS", "below its answer the model wrote that the evidence does not carry one")


class LLMGenerator:
    """Asks the model, and another generator where the model cannot begin.

    * No evidence was found: the model is not asked; the other generator says so.
    * No source was chosen (small talk): the model replies without evidence, and a notice says that.
    * The model is gone, says nothing or does not begin in time: the other generator answers (notice LLM_UNAVAILABLE).
    * It goes away in the middle, or the time is up: the answer ends there (notice ANSWER_CUT).
    * It cites nothing: where one piece of evidence each holds the very words of its sentences, their numbers are added at the end (notice
      CITED_BY_WORDING); else the text stays as it is (notice UNCITED). Citations are never attached by likeness: that would look checked.
    * It writes below a cited answer that the evidence does not carry one, as small models do: not the text but a notice says so
      (MODEL_DOUBTS).

    Args:
        model: Writes.
        settings: Budgets.
        fallback: The other generator.
        pictures: Shown to a model that sees; None leaves it their words.
    """

    def __init__(
        self, model: LanguageModel, settings: GenerationSettings, fallback: Generator, pictures: PicturesToShow | None = None
    ) -> None:
        self._model = model
        self._settings = settings
        self._fallback = fallback
        self._pictures = pictures

    async def generate(self, query: Query, retrieval: Retrieval, caller: Caller) -> AsyncIterator[GeneratorEvent]:
        """Raises what the fallback raises, before the first token only."""
        if retrieval.evidence:
            prompt = await self._prompt(query, retrieval, caller)
        elif not retrieval.decision.selected:
            prompt = replace(small_talk_prompt(query), notices=(NO_SOURCE_NOTICE,))
        else:
            async for event in self._fallback.generate(query, retrieval, caller):
                yield event
            return
        checker = CitationChecker([item.id for item in prompt.shown])
        ending: list[Notice] = []
        async with contextlib.aclosing(self._checked(prompt, checker, caller.deadline, ending)) as events:
            async for event in events:
                yield event
        if not checker.text:
            async for event in self._instead(query, retrieval, caller, ending):
                yield event
            return
        if prompt.shown and not checker.citations and not begins_with_not_found(checker.text):
            numbers = await asyncio.to_thread(evidence_of_wording, checker.text, prompt.shown)
            if numbers:
                ending.append(Notice("CITED_BY_WORDING", "the model cited nothing; the evidence named at the end holds its words"))
                for event in checker.feed(" " + "".join(f"[{number}]" for number in numbers)):
                    yield event
        if DOUBT in ending and not checker.citations:
            # Nothing stands behind the answer: the sentence belongs to it.
            ending.remove(DOUBT)
            for event in checker.feed(f" {NOT_FOUND}"):
                yield event
        found = bool(prompt.shown) and _carries(checker)
        if found and not checker.citations:
            ending.append(Notice("UNCITED", "the model cited no evidence for this answer"))
        for notice in ending:
            yield notice
        notices = (*prompt.notices, *checker.notices, *ending)
        yield Written(checker.text, found, tuple(checker.citations), self._model.name, notices)

    async def _prompt(self, query: Query, retrieval: Retrieval, caller: Caller) -> Prompt:
        # Of a question with pictures, `retrieval.question` says what they show.
        question = retrieval.question if query.has_pictures else query.text
        prompt = answer_prompt(query, retrieval.evidence, self._settings, self._model.context_tokens, question=question)
        if self._pictures is None:
            return prompt
        return with_pictures(prompt, *await self._pictures.read(caller.tenant, query, prompt.shown, prompt.spare_tokens))

    async def _checked(
        self, prompt: Prompt, checker: CitationChecker, deadline: Deadline, ending: list[Notice]
    ) -> AsyncGenerator[GeneratorEvent, None]:
        """The reply through the checker. Why it ended early, if it did, is added to `ending`; nothing is yielded before text is."""
        waiting: list[GeneratorEvent] = list(prompt.notices)
        closing = ClosingSentence()
        try:
            async with contextlib.aclosing(self._pieces(prompt, deadline)) as pieces:
                async for piece in pieces:
                    waiting += checker.feed(closing.feed(piece))
                    if checker.text:
                        for event in waiting:
                            yield event
                        waiting.clear()
        except RouterError as error:
            reason = "ANSWER_CUT" if checker.text else "LLM_UNAVAILABLE"
            ending.append(Notice(reason, f"{'the answer ends early' if checker.text else 'the model did not answer'}: {error.message}"))
        held = closing.finish()
        if held.strip() == NOT_FOUND and without_citations(checker.text):
            ending.append(DOUBT)
        else:
            waiting += checker.feed(held)
        waiting += checker.finish()
        if checker.text:
            for event in waiting:
                yield event
        elif not ending:
            ending.append(Notice("LLM_UNAVAILABLE", f"the model {self._model.name} replied nothing"))

    async def _pieces(self, prompt: Prompt, deadline: Deadline) -> AsyncGenerator[str, None]:
        """The model's stream, ended with DeadlineExceeded when the caller's time is nearly up."""
        end = deadline.earlier(RESERVE_S)
        stream = self._model.stream(prompt.messages, max_tokens=self._settings.max_answer_tokens)
        try:
            while True:
                # Per piece, not around the loop: a timeout around a `yield` would strike whoever reads this.
                scope = asyncio.timeout(end.remaining_s())
                try:
                    async with scope:
                        piece = await anext(stream, None)
                except TimeoutError as error:
                    if not scope.expired():
                        raise
                    raise DeadlineExceeded("the time of the call is up") from error
                if piece is None:
                    return
                yield piece
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def _instead(
        self, query: Query, retrieval: Retrieval, caller: Caller, notices: Sequence[Notice]
    ) -> AsyncIterator[GeneratorEvent]:
        for notice in notices:
            yield notice
        async for event in self._fallback.generate(query, retrieval, caller):
            yield replace(event, notices=(*notices, *event.notices)) if isinstance(event, Written) else event


def _carries(checker: CitationChecker) -> bool:
    """Whether the text is an answer. The agreed sentence at its end may qualify a cited answer; at its beginning it may not."""
    return not begins_with_not_found(checker.text) and (bool(checker.citations) or not says_not_found(checker.text))
