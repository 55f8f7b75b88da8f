"""Parsing off the loop: the child process gives what the reader gives, and a file that kills or blocks it harms no other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from router.corpus.load import format_of, load
from router.corpus.parsing import Parser
from router.errors import DocumentRejected
from tests.unit.corpus import files
from tests.unit.faults import halt

PDF = format_of("a.pdf", "")
DOCX = format_of("a.docx", "")
GOOD = files.pdf("First part\nAda wrote notes.", title="The engine", outline=True)


@pytest.fixture
async def parser() -> AsyncIterator[Parser]:
    parser = Parser(max_chars=10_000, timeout_s=20)
    yield parser
    await parser.aclose()


async def test_the_child_gives_what_the_reader_gives(parser: Parser) -> None:
    word = files.word(("Heading 1", "Parts"), ("", "Ada wrote."))
    assert await parser.load(GOOD, PDF) == load(GOOD, PDF, 10_000)
    assert await parser.load(word, DOCX) == load(word, DOCX, 10_000)
    with pytest.raises(DocumentRejected, match="password") as caught:
        await parser.load(files.encrypted_pdf("secret"), PDF)
    assert caught.value.reason == "ENCRYPTED"


async def test_text_and_facts_need_no_child(parser: Parser) -> None:
    facts = await parser.load(b"a\tb\tc", format_of("a.tsv", ""))
    assert len(facts.triples) == 1
    assert parser.child_pid is None


async def test_a_child_that_died_is_replaced(parser: Parser) -> None:
    await parser.load(GOOD, PDF)
    first = parser.child_pid or 0
    halt(first)
    waiting = asyncio.create_task(parser.load(GOOD, PDF))
    await asyncio.sleep(0.05)
    os.kill(first, signal.SIGKILL)
    assert (await waiting).title == "The engine"
    assert parser.child_pid != first


async def test_a_file_on_which_a_new_child_dies_is_given_up(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", "/bin/false")
        with pytest.raises(DocumentRejected, match="died") as caught:
            await parser.load(GOOD, PDF)
    assert caught.value.reason == "BROKEN"
    assert (await parser.load(GOOD, PDF)).title == "The engine"


async def test_a_file_that_takes_too_long_is_given_up() -> None:
    parser = Parser(max_chars=10_000, timeout_s=20)
    await parser.load(GOOD, PDF)
    halt(parser.child_pid or 0)
    parser.timeout_s = 0.1
    with pytest.raises(DocumentRejected, match="within") as caught:
        await parser.load(GOOD, PDF)
    assert caught.value.reason == "BROKEN"
    parser.timeout_s = 20
    assert (await parser.load(GOOD, PDF)).title == "The engine"
    await parser.aclose()
