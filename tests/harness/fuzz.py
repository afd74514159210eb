"""Random inputs of four kinds, and what must hold of each: `python -m tests.harness.fuzz KIND [TRIES] [SEED]`.

KIND is toml, words (command lines), records or images. What is refused is refused with a ValueError of one short line;
anything else that is raised is a fault, and is printed with its seed. The same call does the same, so a fuzz that is to
find something new takes a SEED that nobody has taken:

    for kind in toml words records images; do python -m tests.harness.fuzz $kind 1000 10000000; done
"""

import contextlib
import copy
import io
import json
import math
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.plan import study
from bench.plan.checkout import ROOT
from bench.store import record

PUBLISHED = sorted((ROOT / "results" / "published" / "digits").rglob("*.json"))
# What people and other programs write where a number, a text or a list is expected.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, 10**40, 10**310, -(10**310), 0.0, -0.5, 0.5, 1e30, 1e300, math.nan,
    math.inf, "", "x", "plain", "preact", "mine:block", ":", "a:b:c", "\ud800", "\0", "é" * 70, "x" * 5000, [], [1],
    [[]], ["plain", "resnet"], [1, "a"], {}, {"a": 1}, {"float": "nan"}, [None], "folder:", "folder:/nowhere@3",
    "a\nb", "folder:a\nb", "\x1b[2J", "random-labels:",
)  # fmt: skip
LONGEST_LINE = 1000


class Fault(AssertionError):  # noqa: N818 (it says what it is)
    """Something that must not happen; the message says what."""


@contextlib.contextmanager
def refused_in_one_line() -> Iterator[None]:
    """Lets a ValueError of one short line pass."""
    try:
        yield
    except ValueError as error:
        check_line(str(error))


def check_line(words: str) -> None:
    """Whether a refusal is one short line."""
    if not words or "\n" in words or len(words) > LONGEST_LINE:
        raise Fault(f"refused in other than one short line: {words[:300]!r}")


def toml(luck: random.Random, folder: Path) -> None:
    """A study's table with some fields replaced by odd ones; and a built-in file with some bytes changed."""
    from bench.plan.trial import FIELDS

    table: dict[str, Any] = {"architecture": "resnet", "depth": [10, 18], "seed": 0}
    keys = [*FIELDS, "title", "claims", "include", "grid", "description", "search", "seeds_at_once", "x"]
    for _ in range(luck.randint(1, 4)):
        value = copy.deepcopy(luck.choice(ODD))
        table[luck.choice(keys)] = [value, luck.choice(ODD)] if luck.random() < 0.2 else value
    with refused_in_one_line():
        for trial in study.parse("fuzz", table).trials:
            json.dumps(trial.to_json())
            hash(trial)
            record.file_name(trial, ["lr"])
    text = (study.STUDIES / "digits.toml").read_bytes()
    at = luck.randrange(len(text))
    junk = bytes(luck.randrange(256) for _ in range(luck.randint(0, 3)))
    (folder / "damaged.toml").write_bytes(text[:at] + junk + text[at + luck.randint(0, 3) :])
    with refused_in_one_line():
        study.load(str(folder / "damaged.toml"))


OPTIONS = ("--seeds", "--depths", "--workers", "--threads", "--time-limit", "--trial-time-limit", "--only", "--purpose",
           "--device", "--executor", "--input", "--depth", "--width", "--layout", "--classes", "--gpus-per-trial",
           "--seeds-at-once", "--x", "--checkpoint-after", "--inject")  # fmt: skip
SAID = ("", "0", "1", "-1", "18", "3,", "1,1", "9" * 400, "1" * 5000, "nan", "inf", "1e400", "9m", "0.0s", ".", "cpu",
        "auto", "cuda", "ray", "kill@1:1", "kill@", "é", "\udce9", "1x8x8", "0x0x0", "99999x1x1", "train", "cost", "~x",
        "search", "dense", "a\nb", "a\nb:c", "\x1b[2J.toml", "9" * 400 + "h")  # fmt: skip


def words(luck: random.Random, folder: Path) -> None:
    """A command line that does no work: of list, show, summary and default; or of run, with a device that is none."""
    from bench import __main__ as cli

    command = luck.choice(["list", "show", "summary", "default", "run", "x"])
    line = [command]
    if command in ("show", "run"):
        line.append(luck.choice(["digits", "digits-lr", "nosuch", "", str(folder), str(folder / "x.toml"), *SAID]))
    if command == "summary":
        line += [luck.choice(["resnet", "plain", "a:b", *SAID]), "--depth", luck.choice(["10", "18", "-3", *SAID])]
    for _ in range(luck.randint(0, 3)):
        line += [luck.choice(OPTIONS), luck.choice(SAID)]
    if command == "run":  # refused at the latest by the preflight
        line += ["--device", "none", "--records", str(folder / "records"), "--executor", "inline"]
    said, before = io.StringIO(), sys.argv
    sys.argv = ["bench", *line]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            cli.main()
    except SystemExit as ended:
        if ended.code not in (0, 2) or (command == "run" and ended.code != 2):
            raise Fault(f"{line}: exit code {ended.code}, {said.getvalue()[:300]!r}") from None
        if ended.code == 2 and said.getvalue().count("\n") != 1:
            raise Fault(f"{line}: {said.getvalue()[:300]!r}") from None
    finally:
        sys.argv = before


def _changed(luck: random.Random, value: Any) -> Any:
    """The same JSON with one thing in it replaced, dropped, doubled or cut."""
    if isinstance(value, dict) and value and luck.random() < 0.9:
        key = luck.choice(list(value))
        if luck.random() < 0.1:
            del value[key]
        else:
            value[key] = _changed(luck, value[key])
        return value
    if isinstance(value, list) and value and luck.random() < 0.7:
        at = luck.randrange(len(value))
        if luck.random() < 0.3:
            return luck.choice([value[:at], value + value, value[at:]])
        value[at] = _changed(luck, value[at])
        return value
    return copy.deepcopy(luck.choice(ODD))


def records(luck: random.Random, folder: Path) -> None:
    """Published records, some of them whole but of odd content: tabulated, judged, and predicted from."""
    from bench.sweep import forecast
    from reports.claims import judge
    from results import tables

    kept = folder / "digits"
    kept.mkdir(exist_ok=True)
    for old in kept.iterdir():
        old.unlink()
    for path in luck.sample(PUBLISHED, min(12, len(PUBLISHED))):
        body = json.loads(path.read_text())["body"]
        for _ in range(luck.randint(0, 3)):
            body = _changed(luck, body)
        text = json.dumps(body)
        digest = record._hash(record.SCHEMA, text)
        (kept / path.name).write_text(f'{{"schema": {record.SCHEMA}, "sha256": "{digest}", "body": {text}}}\n')
    frames = tables.load([kept])
    for _, line in frames.damaged:
        check_line(line)
    judge(frames)
    forecast.lines(study.load("digits"), folder)


def images(luck: random.Random, folder: Path) -> None:
    """A folder of images of many formats, some of them with bytes changed, under suffixes that are looked at."""
    import numpy as np
    from PIL import Image

    from bench.data.folder import load

    place = Path(tempfile.mkdtemp(dir=folder))
    formats = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF", "DDS", "JPEG2000", "AVIF", "TGA", "ICO", "PCX")
    for number in range(6):
        array = np.random.default_rng(luck.randrange(2**32)).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        packed = io.BytesIO()
        made = Image.fromarray(array).convert(luck.choice(["RGB", "RGB", "L", "P", "1", "RGBA", "CMYK", "F"]))
        try:
            made.save(packed, luck.choice(formats))
        except (OSError, ValueError, KeyError):  # that format has no such mode
            packed = io.BytesIO()
            Image.fromarray(array).save(packed, "PNG")
        content = bytearray(packed.getvalue())
        for _ in range(luck.choice([0, 0, 1, 3, 20])):
            content[luck.randrange(len(content))] = luck.randrange(256)
        if luck.random() < 0.2:
            content = content[: luck.randrange(len(content))]
        path = place / "ab"[number % 2] / f"{number}{luck.choice(['.png', '.jpg', '.tif', '.webp', '.bmp'])}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with refused_in_one_line():
        load(f"{place}@8" if luck.random() < 0.5 else str(place), str(folder / "root"))


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "toml": toml,
    "words": words,
    "records": records,
    "images": images,
}


def fuzz(kind: str, tries: int, first: int = 0) -> list[str]:
    """Tries so many inputs; a line for each fault, with the seed that makes it again."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + tries):
            try:
                KINDS[kind](random.Random(seed), Path(folder))
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(where.filename).name}:{where.lineno}"
                found.append(f"{kind} {seed}: {type(error).__name__} at {place}: {str(error)[:300]}")
    return found


def main() -> None:
    """Exit code 1 where a fault was found, 2 for a kind that is none."""
    kind, tries, first = (*sys.argv[1:], "", "", "")[:3]
    if kind not in KINDS:
        print(f"error: name one of {', '.join(KINDS)}", file=sys.stderr)
        raise SystemExit(2)
    found = fuzz(kind, int(tries or 1000), int(first or 0))
    print("\n".join(found) or f"{kind}: {tries or 1000} inputs, nothing found")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
