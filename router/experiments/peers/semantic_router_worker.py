"""The other end of `semantic_router_child.py`: runs in the library's own environment, where nothing of ours is installed.

Lines of JSON on standard input, one reply line each. The first request tells utterances, labelled questions and their vectors; every
further one is a question with its vector, and its reply has all routes with their confidence, best first.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

from semantic_router import Route
from semantic_router.encoders import DenseEncoder
from semantic_router.routers import IndexedRouter


class GivenVectors(DenseEncoder):  # type: ignore[misc]
    """Looks vectors up that were sent."""

    name: str = "given"
    vectors: dict[str, list[float]]

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        return [self.vectors[text] for text in docs]


def main() -> None:
    # Whatever the library prints must not mix with the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    told = json.loads(sys.stdin.readline())
    encoder = GivenVectors(vectors=told["vectors"])
    router = IndexedRouter(encoder, [Route(name=name, utterances=texts) for name, texts in told["utterances"].items()])
    if told["calibrating"]:
        texts, labels = zip(*told["calibrating"], strict=True)
        # It refuses to be fitted where it is always right, or always wrong; its confidence is then the raw similarity.
        with suppress(ValueError):
            router.fit(texts, labels)
    reply({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        encoder.vectors[asked["text"]] = asked["vector"]
        choices = router(asked["text"], limit=None)
        reply({"choices": [{"name": choice.name, "confidence": choice.confidence} for choice in choices]})


if __name__ == "__main__":
    main()
