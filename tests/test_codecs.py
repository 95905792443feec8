"""`sim protocols` and `sim measure-codecs`: what they print, and that a scenario can use what was measured."""

from __future__ import annotations

import json
from importlib import import_module

import pytest
from typer.testing import CliRunner

from sim.cli import app
from sim.interop import codecs
from sim.scenario.profiles import CODECS, PROFILES
from sim.scenario.yaml import load

BASE = """\
services: {s: {workers: 1, operations: {get: {request: 1 kB, response: 1 kB, steps: []}}}}
calls: {default: {protocol: {profile: rest-json, compression: {algorithm: gzip, level: 5}}}}
load: {rate: 1/s, mix: s.get}
"""


def said(*words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_protocols_shows_every_layer_with_its_sources():
    shown = said("protocols")
    assert all(name in shown for name in (*PROFILES, *CODECS))
    one = said("protocols", "tls-1.3")
    assert "RFC 8446" in one
    assert "otherwise: protocol: {profile: grpc, security: none" in one


def test_protocols_as_json_has_numbers_in_base_units():
    [found] = json.loads(said("protocols", "tcp", "--format", "json"))
    by_path = {each["setting"]: each for each in found["settings"]}
    assert by_path["transport.initial_window"] == {
        "setting": "transport.initial_window", "value": 10, "source": "RFC 6928; Linux TCP_INIT_CWND",
    }  # fmt: skip


def test_a_layer_that_is_not_there_is_told_with_its_neighbour():
    done = CliRunner().invoke(app, ["protocols", "tls-1.4"])
    assert done.exit_code == 2
    assert "did you mean 'tls-1.3'" in done.output


def test_what_was_measured_is_what_a_scenario_uses(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    said("measure-codecs", "--seconds", "0.001", "--base", "base.yaml", "-o", str(tmp_path / "measured.yaml"), "-q")
    found = load(tmp_path / "measured.yaml")
    assert set(found.codecs) == {"json", "xml", "protobuf", "msgpack"}
    costs = found.costs(found.policy("client", "s.get").protocol)
    assert costs.codec == found.codecs["json"]
    assert costs.compressor.compress_per_kb == found.compressions["gzip-6"].compress_per_kb  # the nearest level
    assert 0.05 < found.compressions["gzip-6"].ratio < 0.4
    assert all(codec.encode_per_kb > 0 for codec in found.codecs.values())


def test_encoders_that_are_not_installed_are_left_out(monkeypatch):
    def missing(name):
        if name == "msgpack":
            raise ImportError("no msgpack", name="msgpack")
        return import_module(name)

    monkeypatch.setattr(codecs, "import_module", missing)
    found = codecs.measure(0.001)
    assert "msgpack" not in found.codecs
    assert found.missing == ("msgpack (msgpack)",)


def test_the_sample_is_the_same_each_time_and_grows_with_its_reviews():
    assert codecs.sample(3) == codecs.sample(3)
    sizes = [len(json.dumps(codecs.sample(n))) for n in (1, 2, 3)]
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0], rel=0.2)
