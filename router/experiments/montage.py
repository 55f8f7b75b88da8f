"""The best and the worst cases of words that looked for a picture, as one PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from router.experiments.multimodal import Found
from router.models.pictures import load_picture

SIDE, TEXT_HEIGHT, SHOWN, CASES = 112, 16, 6, 6
RIGHT, WRONG = (30, 140, 60), (200, 200, 200)


def write_montage(found: Found, file: Path) -> None:
    """One row a case: the picture that was meant, then what was found, best first; what is right has a green frame.

    Best are the texts whose picture leads by most, worst those whose picture came last.
    """
    scores, gold = found.scores, found.task.gold
    own = np.where(gold, scores, -np.inf).max(1)
    others = np.where(gold, -np.inf, scores).max(1)
    ranks = (np.where(gold, -np.inf, scores) > own[:, None]).sum(1)
    best, worst = np.argsort(others - own, kind="stable")[:CASES], np.argsort(-ranks, kind="stable")[:CASES]
    rows = [("best", row) for row in best] + [("worst", row) for row in worst]
    sheet = Image.new("RGB", ((SHOWN + 1) * (SIDE + 6) + 12, len(rows) * (SIDE + TEXT_HEIGHT + 8)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (kind, row) in enumerate(rows):
        top = number * (SIDE + TEXT_HEIGHT + 8)
        title = found.texts[row].encode("latin-1", "replace").decode("latin-1")
        draw.text((4, top + 2), f"{kind}, place {ranks[row] + 1}: {title}"[:130], fill="black")
        meant = int(np.flatnonzero(gold[row])[0])
        for place, item in enumerate([meant, *np.argsort(-scores[row], kind="stable")[:SHOWN]]):
            left = place * (SIDE + 6) + (12 if place else 0)
            picture = ImageOps.pad(Image.fromarray(load_picture(found.items[item].image.read_bytes())), (SIDE, SIDE), color="white")
            draw.rectangle((left, top + TEXT_HEIGHT, left + SIDE + 3, top + TEXT_HEIGHT + SIDE + 3), RIGHT if gold[row, item] else WRONG)
            sheet.paste(picture, (left + 2, top + TEXT_HEIGHT + 2))
    sheet.save(file, format="PNG")
