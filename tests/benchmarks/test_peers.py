"""Order, ratios and names in the comparison with peers, which are not installed here."""

import argparse

import pytest

from benchmarks.peers import PEERS, PeerFailed, compare, peer_names, take_turns


def test_runners_alternate():
    turns = []

    def runner(name, rate):
        def run():
            turns.append(name)
            return rate + len(turns)

        return run

    rates = take_turns({"ours": runner("ours", 10), "peer": runner("peer", 20)}, rounds=3)
    assert turns == ["ours", "peer"] * 3
    assert rates == {"ours": [11, 13, 15], "peer": [22, 24, 26]}


def test_a_peer_that_fails_is_reported_and_left_out(capsys):
    calls = []

    def broken():
        calls.append(1)
        raise PeerFailed("no such module")

    rates = take_turns({"ours": lambda: 1.0, "peer": broken}, rounds=2)
    assert (rates, len(calls)) == ({"ours": [1.0, 1.0], "peer": []}, 1)
    assert "peer failed: no such module" in capsys.readouterr().err
    assert compare("peer", rates["ours"], rates["peer"])["ratio"] == {}


def test_ratios_compare_the_same_round():
    row = compare("peer", ours=[10.0, 20.0, 30.0], theirs=[10.0, 5.0, 10.0])
    assert row["ratio"] == {"median": 3.0, "min": 1.0, "max": 4.0}


def test_each_peer_has_both_paddings_and_a_precision_to_compare_with():
    assert set(PEERS) == {f"{name}{suffix}" for name in _names() for suffix in ("", "_dynamic")}
    for name, peer in PEERS.items():
        assert peer.precision == ("float32" if "f32" in name else "bfloat16")
        assert ("--length" in peer.options) == (not name.endswith("_dynamic"))


def test_an_unknown_peer_is_an_error():
    assert peer_names("tf_f32,eager_f32_dynamic") == ["tf_f32", "eager_f32_dynamic"]
    with pytest.raises(
        argparse.ArgumentTypeError, match="unknown peer 'jax'; the peers are eager_f32"
    ):
        peer_names("tf_f32,jax")


def _names():
    torch = [f"{m}_{p}" for m in ("eager", "compile") for p in ("f32", "autocast", "bf16")]
    return [*torch, "tf_f32", "tf_bf16", "openvino_f32", "openvino_bf16"]
