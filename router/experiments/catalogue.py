"""What a data set's reference names: a folder, a CSV file, or a set of the library ir_datasets."""

from __future__ import annotations

from pathlib import Path

from router.errors import InvalidInput
from router.experiments.dataset import Dataset, load_csv, load_dataset
from router.experiments.irds import PREFIX, load_ir_dataset


def open_dataset(reference: str, split: str = "") -> Dataset:
    """Open a data set.

    Args:
        reference: A folder of BEIR's layout, a CSV file, or `irds:NAME`.
        split: One part of a folder.

    Raises:
        InvalidInput: There is no such set, or it is not of the form; names the file and line.
        MissingExtra: `irds:NAME` without the extra `bench`.
    """
    is_folder = not reference.startswith(PREFIX) and not reference.endswith(".csv")
    if split and not is_folder:
        raise InvalidInput(f"{reference} has no parts to choose from; --split is for folders", field="split")
    if is_folder:
        return load_dataset(Path(reference), split)
    return load_ir_dataset(reference) if reference.startswith(PREFIX) else load_csv(Path(reference))
