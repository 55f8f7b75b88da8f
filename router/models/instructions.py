"""Models of sentence-transformers that can be told what to look for in what they embed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from router.types import Vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

T = TypeVar("T")
_TASK = re.compile(r"(Instruct:[ ]?).*?(\s*\nQuery:[ ]?)", re.DOTALL)
"""A prompt for queries that states the task (E5-instruct, GTE-Qwen2, Qwen3-Embedding). A fixed prefix such as `query: ` states none."""


def takes_messages(model: SentenceTransformer) -> bool:
    """Whether inputs of any kind become a chat, whose system message the prompt is (Qwen3-VL-Embedding)."""
    return "message" in model.modalities


def takes_instructions(model: SentenceTransformer) -> bool:
    """Whether queries in words can have one."""
    return takes_messages(model) or _TASK.fullmatch(model.prompts.get("query", "")) is not None


def prompt_of(model: SentenceTransformer, instruction: str) -> str:
    """The prompt of a query with an instruction, for a model that takes them."""
    task = None if takes_messages(model) else _TASK.fullmatch(model.prompts.get("query", ""))
    return instruction if task is None else f"{task[1]}{' '.join(instruction.split())}{task[2]}"


def encoded(model: SentenceTransformer, inputs: Sequence[T], prompts: Sequence[str | None], as_input: Callable[[T], Any]) -> list[Vector]:
    """Unit vectors of a batch whose items may have different prompts; None is the model's own. Blocking."""
    vectors: list[Vector] = [np.empty(0, np.float32)] * len(inputs)
    for prompt in dict.fromkeys(prompts):
        places = [place for place, own in enumerate(prompts) if own == prompt]
        matrix = model.encode(
            [as_input(inputs[place]) for place in places],
            prompt=prompt,
            batch_size=len(places),
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        for place, vector in zip(places, np.asarray(matrix, np.float32), strict=True):
            vectors[place] = vector
    return vectors
