"""What a page says of data: settings, other tasks, planted frames, leakage, selections."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from reviewed_details import fixed
from reviewer import close, sentence, share
from run_facts import Facts

from meddel_fast.benchmark.leakage import Leakage, split_audits
from meddel_fast.common.files import read_json
from meddel_fast.selectors import Selection

# Settings, other tasks, planted frames


@sentence(r"(?P<selector>\S+): ε = (?P<epsilon>NUM) removed nothing, in none of its selections\.")
def idle_epsilon(facts: Facts, selector: str, epsilon: str) -> None:
    rows = [r for r in facts.chosen if r["selector"] == selector]
    assert {r["settings"]["epsilon"] for r in rows} == {float(epsilon)}
    assert not any(r["left_out_as_disruptive"] for r in rows)


@sentence(
    r"(?P<selector>\S+) at (?P<ratio>PCT) keeps the images of (?P<other>\S+) in "
    r"(?P<times>\d+) of "
    r"(?P<all>\d+) repetitions?(?:, and shares its training in (?P<taken>\d+))?\."
)
def same_images(facts: Facts, selector: str, ratio: str, other: str, times: str, all: str,
                taken: str | None) -> None:  # fmt: skip
    names = {t["tag"]: t["selector"] for t in facts.about["tags"]}
    rows = [r for r in facts.chosen if (r["selector"], r["ratio"]) == (selector, share(ratio))]
    same = [r for r in rows if r["same_as"]]
    assert names[same[0]["same_as"]] == other
    assert (len(same), len(rows)) == (int(times), int(all))
    assert sum(bool(r["shared_with"]) for r in same) == int(taken or 0)


fixed("Per cent, means over the runs, in brackets their 95 % intervals.")
fixed(
    "A row without a share is of an encoder that this run did not pre-train: a reference, or one "
    "with its first weights.",
    lambda facts: {row["selector"] for row in facts.tasks if row["ratio"] == "-"}.isdisjoint(
        tag["selector"] for tag in facts.about["tags"]
    ),
)
fixed(
    "“Against random” has verdicts, with the intervals that they go by.",
    lambda facts: any(row["against"] == "random" for row in facts.judged_beyond),
)
fixed(
    "The segmentation head is trained on the images of the set tested on.",
    lambda facts: {r["head"] for r in facts.across} == {"target"},
)
fixed(
    "The segmentation head is trained on the images of the set pre-trained on.",
    lambda facts: {r["head"] for r in facts.across} == {"source"},
)
for task in ("classification", "segmentation", "localisation", "depth"):
    fixed(task, lambda facts, task=task: any(r["task"] == task for r in facts.tasks))
fixed("The made data know which frames repeat another and which show nothing.")
fixed("Bars: their share of what was kept (shorter is better).")
fixed(
    "Recall: how many of them are gone or do no harm any more; of a frame and its copies one may "
    "stay, only the others count."
)
fixed(
    "Reconstruction error of the masked patches, on the images trained on: fewer images are easier "
    "to learn by heart, so a lower curve is no better encoder."
)
fixed("Lines as in the plots above; black: all data.")


@sentence(r"Shown is the first of (?P<repeats>\d+) repetitions\.")
def first_repetition(facts: Facts, repeats: str) -> None:
    assert facts.repeats == int(repeats) > 1


# Leakage


def audit(facts: Facts) -> Leakage:
    return Leakage.load(facts.run / "leakage")


def check_leaks(facts: Facts, told: list[str], *, touched: bool) -> None:
    """Check ``kvasir 4 of 4 in the pool``; `touched`: those alone are named that have any."""
    exclude = facts.config.get("leakage", {}).get("exclude", False)
    trained = split_audits(facts.run / "leakage", "train")
    wanted = []
    for row in audit(facts).summary():
        places = [] if exclude else [(row, "in the pool")]
        if row["dataset"] in trained:
            found = trained[row["dataset"]].summary()[0]
            places.append((found, "among what its head is trained on"))
        said = [f"{r['touched']} of {r['images']} {where}" for r, where in places if r["touched"]]
        if said or not touched:
            wanted.append(f"{row['dataset']} {' and '.join(said) or 'none'}")
    assert told == wanted, wanted


MEANT = r"(?:a cosine of NUM or more|no cosine)"


def check_meant(facts: Facts, text: str) -> None:
    threshold = audit(facts).threshold
    assert text == ("no cosine" if threshold is None else f"a cosine of {threshold:g} or more")


@sentence(
    rf"The leakage audit looked for test images that are the same file as, or like "
    rf"\((?P<meant>{MEANT})\), what a training saw\. It found, by test set: (?P<found>[^.]+)\."
)
def leak_claim(facts: Facts, meant: str, found: str) -> None:
    check_meant(facts, meant)
    check_leaks(facts, found.split("; "), touched=False)


@sentence(
    rf"Images of the pool and of the test sets with (?P<meant>{MEANT}) "
    rf"\((?P<how>[^)]+)\), and files "
    r"that are the same byte for byte\."
)
def leak_section(facts: Facts, meant: str, how: str) -> None:
    check_meant(facts, meant)
    centred = audit(facts).centred
    assert how == ("embeddings less the pool's mean" if centred else "embeddings as they are")


def cleaned(facts: Facts) -> bool:
    return bool(facts.config.get("leakage", {}).get("exclude", False))


fixed(
    "No leakage audit tells whether a training saw these, or images like them.",
    lambda facts: not (facts.run / "leakage").exists(),
)
fixed("What was in the pool was taken out of it.", cleaned)
fixed("What a cosine means depends on the encoder: look at the pairs.")
fixed("They stayed in the pool.", lambda facts: not cleaned(facts) and len(audit(facts)))
fixed(
    "They were taken out of the pool before selection: all shares are those of what was left.",
    cleaned,
)
fixed("The same, against the other splits.")
fixed(
    "Test images with a counterpart in the pool, and, small, images of the pool with one in the "
    "test set, at other cosines."
)


COUNT = r"\d{1,3}(?:,\d{3})*"


def counted(text: str) -> int:
    return int(text.replace(",", ""))


@sentence(
    rf"(?P<name>[^:]+): (?P<near>{COUNT}) pairs? at or above (?P<threshold>NUM) of "
    rf"(?P<compared>{COUNT}) compared; "
    rf"(?P<files>{COUNT} equal files?|whether files are equal is not known)(?P<rest>.*)$"
)
def leak_found(
    facts: Facts, name: str, near: str, threshold: str, compared: str, files: str, rest: str
) -> None:
    found = audit(facts)
    assert float(threshold) == found.threshold
    mine, alike = found.dataset == name, found.similarity >= float(threshold)
    assert counted(near) == np.sum(mine & alike)
    assert counted(compared) == found.pool * found.tests[name]
    if found.files[name]:
        assert counted(files.split()[0]) == np.sum(mine & found.same_bytes)
    else:
        assert files.startswith("whether")
    tested, held = (len(set(rows[mine])) for rows in (found.test_row, found.pool_row))
    if not tested:
        assert rest == " (in the pool)"
        return
    images = found.tests[name]
    share = f"{100 * tested / images:.1f}"
    wanted = (
        f": {tested} of {images} test images ({share} %) and {held} of {found.pool} in the pool"
    )
    assert rest.replace(",", "") == wanted


def sight(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = read_json(facts.run / "leakage" / "sight.json")
    return found


@sentence(
    r"Of (?P<images>\d+) images of the pool, copied and altered, this encoder puts at "
    r"(?P<threshold>NUM) or more: (?P<shares>.+? %)\."
)
def leak_sight(facts: Facts, images: str, threshold: str, shares: str) -> None:
    about = sight(facts)
    assert (int(images), float(threshold)) == (about["images"], about["threshold"])
    told = re.findall(r"(.+?): (\d+) %(?:, |$)", shares)
    wanted = [(c["change"], f"{100 * c['found'] / int(images):.0f}") for c in about["copies"]]
    assert told == wanted


@sentence(r"The audit cannot be relied on to find copies that are (?P<blind>[^.]+)\.")
def leak_blind(facts: Facts, blind: str) -> None:
    about = sight(facts)
    for copy in about["copies"]:
        assert (copy["change"] in blind) == (copy["found"] < 0.9 * about["images"])


@sentence(
    rf"It takes (?P<taken>{COUNT}) of (?P<pairs>{COUNT}) pairs of different images for copies "
    r"\((?P<share>[\d.]+) %\)\."
)
def leak_taken(facts: Facts, taken: str, pairs: str, share: str) -> None:
    about = sight(facts)
    assert (counted(taken), counted(pairs)) == (about["taken_for_copies"], about["pairs"])
    close(share, 100 * counted(taken) / counted(pairs), 1)


@sentence(
    rf"(?P<name>[^:]+): (?P<equal>{COUNT}) of (?P<images>{COUNT}) images are one file with another "
    rf"\((?P<files>{COUNT}) files\), (?P<across>{COUNT}) files in more than one split$"
)
def leak_inside(facts: Facts, name: str, **told: str) -> None:
    rows = read_json(facts.run / "leakage" / "inside.json")
    row = next(row for row in rows if row["set"] == name)
    names = {"equal": "equal_images", "images": "images", "files": "files", "across": "across"}
    assert {key: counted(text) for key, text in told.items()} == {
        key: row[column] for key, column in names.items()
    }


@sentence(r"(?P<name>[^:]+): the most similar of (?P<pairs>\d+) pairs(?P<where> in .+)?$")
def leak_pairs(facts: Facts, name: str, pairs: str, where: str | None) -> None:
    if where is None:
        assert int(pairs) == int(np.sum(audit(facts).dataset == name))
    else:
        of = "val" if "validation" in where else "train"
        found = split_audits(facts.run / "leakage", of)[name]
        assert int(pairs) == int(np.sum(found.dataset == name))


@sentence(r"(?P<name>[^:]+): not found, the closest below the threshold$")
def leak_closest(facts: Facts, name: str) -> None:
    assert any(c["dataset"] == name for c in audit(facts).closest)


# Selections


@sentence(
    r"Principal components of the embeddings: the horizontal axis holds (?P<across>\d+) % "
    r"of the "
    r"variance, the vertical one (?P<up>\d+) %\."
)
def axes(facts: Facts, across: str, up: str) -> None:
    folder = facts.run / "embeddings"
    x = np.concatenate([np.load(path) for path in sorted(folder.glob("*.npy"))]).astype(float)
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    for said, value in zip((across, up), values[:2] / values.sum(), strict=True):
        close(said, 100 * value, 0)


fixed("Point at a sample, or use the arrow keys, to see it.")


@sentence(r"(?P<selector>\S+), (?P<ratio>PCT) kept$")
def panel(facts: Facts, selector: str, ratio: str) -> None:
    """What follows is of this selection."""
    tags = {(t["selector"], t["ratio"]): t["tag"] for t in facts.about["tags"]}
    facts.panel = facts.run / "select" / f"{tags[selector, share(ratio)]}.parquet"


FATES = {
    "kept": "kept",
    "dropped: redundant": "duplicate",
    "dropped: disruptive": "disruptive",
    "left out: others were wanted more": "budget",
    "left out: not to be chosen from": "excluded",
}


@sentence(rf"(?P<count>\d+) (?P<fate>{'|'.join(FATES)})$")
def fate(facts: Facts, count: str, fate: str) -> None:
    assert Selection.load(facts.panel).counts()[FATES[fate]] == int(count)


@sentence(r"cosine threshold η = (?P<eta>NUM)(?:;|$)")
def eta(facts: Facts, eta: str) -> None:
    close(eta, Selection.load(facts.panel).settings["eta"], 4)


@sentence(
    r"disruptive beyond ε = (?P<epsilon>NUM)(?:, which no sample is: the farthest is at "
    r"(?P<farthest>NUM))?(?:;|$)"
)
def epsilon(facts: Facts, epsilon: str, farthest: str | None) -> None:
    chosen = Selection.load(facts.panel)
    assert float(epsilon) == chosen.settings["epsilon"]
    assert (farthest is None) == (chosen.counts()["disruptive"] > 0)
    if farthest:
        assert float(farthest) == float(f"{np.max(chosen.distance):.3g}")


@sentence(r"(?P<count>\S+) disruptive, by their distance from the mean of all(?:;|$)")
def disruptive(facts: Facts, count: str) -> None:
    settings = Selection.load(facts.panel).settings
    assert settings["epsilon"] is None
    assert count == f"{settings['disruptive']:,}".replace(",", "\u202f")


@sentence(r"Most disruptive first, with the distance to the (?P<what>.+)$")
def disruptive_row(facts: Facts, what: str) -> None:
    by_mean = Selection.load(facts.panel).settings.get("epsilon") is None
    assert what == (
        "mean of all, as a share of the largest" if by_mean else "centroid of the cluster"
    )


@sentence(r"(?P<count>\d+) clusters(?:;|$)")
def clusters(facts: Facts, count: str) -> None:
    assert int(count) == Selection.load(facts.panel).settings["clusters"]


@sentence(r"covering radius (?P<radius>NUM)(?:;|$)")
def radius(facts: Facts, radius: str) -> None:
    assert float(radius) == float(f"{Selection.load(facts.panel).settings['radius']:.4g}")
