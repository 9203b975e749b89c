"""docs/scale.md says what bench/scale.py computes, and the simulated wave is like the one that was measured."""

import json

import pytest

from bench import scale, soak
from harness.client import wait
from harness.engine import Container, built


def test_the_document_has_the_tables_of_the_script():
    assert scale.START + scale.tables() + scale.END in scale.DOCUMENT.read_text()


def test_the_document_has_the_table_of_the_soak():
    assert soak.START + soak.table() + soak.END in soak.DOCUMENT.read_text()


@pytest.mark.slow
def test_a_soak_of_seconds(project):
    """Its parts and what it measures; half an hour of it is a command."""
    with Container(built(project()), MAX_BODY_MB="32") as container:
        run = soak.Soak(container.ready(), seconds=8, visits=20, uploads=2)
        samples = wait(run.go())
        result = soak.verdict(samples, run, last=0.5)
    assert soak.SHOWN.keys() <= result.keys()
    assert (result["visits"], result["uploads of 30 MB"], result["wrong answers"]) == (20, 2, 0)
    assert result["clicks"] >= soak.REGULARS
    assert all(30 < held < 512 for sample in samples for held in (sample.anonymous, sample.mebibytes))
    assert all(20 < sample.files < 1000 for sample in samples)


def test_more_tabs_take_more():
    measured = scale.figures()
    needs = [scale.need(tabs, 0.1, measured) for tabs in (1_000, 100_000, 10_000_000)]
    assert [need.instances for need in needs] == sorted({need.instances for need in needs})
    assert needs[0].cells == 1
    assert needs[2].cells > 10
    assert scale.need(1_000, 10, measured).limited_by == "CPU"


def test_the_simulated_wave_is_like_the_measured_one():
    seen = json.loads(scale.WAVE.read_text())
    simulated = scale.wave(int(seen["tabs"]), seen["connects a second, one after the other"], 0)
    assert 0.5 < simulated[-1] / seen["all are back, s"] < 2


def test_nobody_is_back_before_anything_answers():
    simulated = scale.wave(100, 50, 3)
    assert len(simulated) == 100
    assert 3 < simulated[0] < 3 + scale.RETRY_MOST
