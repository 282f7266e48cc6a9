"""What only the page of given predictions says, which come without a pool and without models."""

from __future__ import annotations

from reviewed_details import fixed
from reviewer import sentence
from run_facts import Facts


def is_given(facts: Facts) -> bool:
    return "given" in facts.about


@sentence(
    r"(?P<selectors>\d+) selectors · started (?P<started>[\d-]{10} [\d:]{5}) · "
    r"meddel-fast (?P<version>\S+)"
)
def about_given(facts: Facts, selectors: str, started: str, version: str) -> None:
    assert is_given(facts)
    assert not (facts.run / "data" / "pretrain.parquet").exists()
    assert int(selectors) == len({t["selector"] for t in facts.about["tags"]} - {"full"})
    assert facts.about["started"].startswith(started.replace(" ", "T"))
    assert facts.about["versions"]["meddel-fast"] == version


@sentence(
    r"Predictions of models that were trained elsewhere are held against the masks of the test "
    r"images, (?P<where>at the size of each mask|squeezed to \d+ pixels a side); what is above "
    r"(?P<threshold>NUM) counts as lesion\. How the models were trained is not known here\."
)
def how_they_are_scored(facts: Facts, where: str, threshold: str) -> None:
    scoring = facts.about["given"]["scoring"]
    size = scoring["size"]
    assert where == (f"squeezed to {size} pixels a side" if size else "at the size of each mask")
    assert float(threshold) == scoring["threshold"]


fixed("How the comparison is judged", is_given)
fixed(
    "R is the share of the data that was kept for training; “full” is all of it, “random” a random "
    "share. NormDEL weighs one against the other:",
    is_given,
)
