"""Walking files and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from router.corpus.discover import FoundFile, Skipped, discover
from router.errors import InvalidInput


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("words")


def found(*paths: Path) -> list[str]:
    return [item.name for item in discover(paths) if isinstance(item, FoundFile)]


def skipped(*paths: Path) -> dict[str, str]:
    return {item.name: item.reason for item in discover(paths) if isinstance(item, Skipped)}


def test_folders_are_walked_in_order_without_hidden_files(tmp_path: Path) -> None:
    make(tmp_path, "b.txt", "a/z.md", "a/B.HTML", ".git/x.txt", ".hidden.txt", "c.xcf")
    assert found(tmp_path) == ["a/B.HTML", "a/z.md", "b.txt"]
    assert skipped(tmp_path) == {"c.xcf": "UNSUPPORTED_TYPE"}
    (item, *_) = discover([tmp_path])
    assert item == FoundFile("a/B.HTML", tmp_path / "a/B.HTML", 5)


def test_a_file_given_by_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    make(tmp_path, "a/.notes.xyz")
    assert found(tmp_path / "a" / ".notes.xyz") == [".notes.xyz"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path, "a/one.txt", "other/two.txt")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "out").symlink_to(tmp_path / "other")
    (tmp_path / "a" / "dead.txt").symlink_to(tmp_path / "nowhere.txt")
    assert found(tmp_path / "a") == ["one.txt", "out/two.txt"]
    assert skipped(tmp_path / "a") == {"loop": "SEEN_BEFORE", "dead.txt": "UNREADABLE"}


def test_two_files_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    make(tmp_path, "a/x.txt", "b/x.txt")
    assert found(tmp_path / "a", tmp_path / "b") == ["x.txt"]
    assert skipped(tmp_path / "a", tmp_path / "b") == {"x.txt": "SAME_NAME"}
    assert found(tmp_path) == ["a/x.txt", "b/x.txt"]


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert skipped(tmp_path) == {"pipe.txt": "NOT_A_FILE"}


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        list(discover([tmp_path / "nothing"]))
