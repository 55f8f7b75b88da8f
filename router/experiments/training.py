"""`policy train`: from data sets to the weights of the policy `learned` and of the judge of evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from router.experiments.catalogue import open_dataset
from router.experiments.dataset import Dataset
from router.experiments.lessons import Lesson, lessons, open_lessons
from router.experiments.scratch import watched_scratch_app
from router.experiments.value_training import trained, with_words_of_time
from router.settings import Settings


def train_policy(
    settings: Settings,
    folders: Sequence[Path],
    version: str,
    *,
    k: int,
    limit: int | None,
    untitled: bool,
    as_measured: bool,
    strength: float | None,
    kept: Path | None,
) -> str:
    """The text of a model file: every set of sources is run for the questions of these sets.

    Args:
        settings: Of the engine that is asked; at most one source of each kind.
        folders: Data sets.
        version: Name of the model.
        k: Items of evidence that count.
        limit: Questions of each set; None: all.
        untitled: Ask each set a second time, over documents without their titles, as most of a company come.
        as_measured: Leave the feature `recent` as it is in the sets.
        strength: As in `trained`.
        kept: Folder of lessons, one file for each set: what stands there is not measured again. None keeps nothing.

    Raises:
        RouterError: As `lessons` and `trained`.
    """
    examples = [lesson.example for lesson in learned_lessons(settings, folders, k=k, limit=limit, untitled=untitled, kept=kept)]
    if not as_measured:
        examples = with_words_of_time(examples)
    about = {"sets": [folder.resolve().name for folder in folders], "k": k, "untitled_too": untitled, "words_of_time": not as_measured}
    return trained(examples, version, about, strength)


def learned_lessons(
    settings: Settings, folders: Sequence[Path], *, k: int, limit: int | None, untitled: bool, kept: Path | None
) -> list[Lesson]:
    """The lessons of several sets, each with its own scratch corpus; arguments as of `train_policy`."""
    titled = [open_dataset(str(folder), "") for folder in folders]
    datasets = [*titled, *(dataset.without_titles() for dataset in titled if untitled)]
    return [lesson for dataset in datasets for lesson in asyncio.run(_lessons(settings, dataset, k, limit, kept))]


async def _lessons(settings: Settings, dataset: Dataset, k: int, limit: int | None, kept: Path | None) -> list[Lesson]:
    questions = dataset.some_questions(limit=limit)
    async with watched_scratch_app(settings, dataset) as (opened, stage):
        with open_lessons(kept, dataset, tuple(opened.engine.sources), k, settings) as known:
            return await lessons(opened.engine, dataset.name, questions, k, stage("ask", len(questions)), known)
