"""docs/scale.md says what bench/scale.py computes, and the simulated wave is like the one that was measured."""

import json

import scale
import soak


def test_the_document_has_the_tables_of_the_script():
    assert scale.START + scale.tables() + scale.END in scale.DOCUMENT.read_text()


def test_the_document_has_the_table_of_the_soak():
    assert soak.START + soak.table() + soak.END in soak.DOCUMENT.read_text()


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
