import pytest

from tests.mutants.run import ROOT, mutated
from tests.mutants.table import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_code_has_the_text_of_every_mutant_exactly_once(mutant: Mutant) -> None:
    text = mutated(mutant, ROOT)

    assert text != (ROOT / mutant.file).read_text()
    compile(text, mutant.file, "exec")


def test_no_two_mutants_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mutant_whose_text_is_gone_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"records\.py has the text of the mutant `stale` 0 times"):
        mutated(Mutant("stale", "worker/core/records.py", "no such text", "", ""), ROOT)
