"""Reports built by hand: the input of every renderer test."""

from __future__ import annotations

from ckptdoctor.model import (
    BytesRead,
    Crash,
    Finding,
    Fix,
    JsonSet,
    LoaderOutcome,
    Location,
    Report,
    Skip,
    Target,
    Verdict,
)

TRANSFORMERS = Target(
    "transformers", {"transformers": "5.23.0", "bitsandbytes": "0.49.2"}, origin="installed"
)
VLLM = Target("vllm", {"vllm": "0.32.0", "vllm-bnb-plugin": "0.0.3"}, {"tp": 2}, origin="assumed")
UNSLOTH = Target("unsloth", {"unsloth": "2025.3.10", "unsloth_zoo": "2025.3.9"}, origin="requested")
READ = BytesRead(headers=39_214, json=1_820, micro=512)

PROSE = {
    "bnb/missing-companion": {
        "summary": "A 4-bit weight lacks a tensor that its quantisation state needs",
        "how_to_fix": "Fetch the shard again, or save the model again with save_pretrained.",
    },
    "config/unknown-activation": {"how_to_fix": "Name an activation that transformers knows."},
}


def prose(rule: str) -> dict[str, object]:
    return dict(PROSE.get(rule, {}))


def sound() -> Report:
    verdicts = tuple(Verdict(target, "ok", "bf16", (), "source") for target in (TRANSFORMERS, VLLM, UNSLOTH))
    return Report(
        "./Llama-3.1-8B-Instruct", (), verdicts, (), (), ("bf16",), READ, 16_060_522_496, rules_run=63
    )


def missing_absmax() -> Finding:
    places = tuple(
        Location("model-00001-of-00002.safetensors", tensor=f"model.layers.{layer}.mlp.down_proj.weight")
        for layer in range(24, 32)
    )
    error = "KeyError: 'layers.24.mlp.down_proj.weight.absmax'"
    outcomes = (
        LoaderOutcome(TRANSFORMERS, "fails", "KeyError: 'absmax'", "observed"),
        LoaderOutcome(VLLM, "fails", error, "observed"),
        LoaderOutcome(UNSLOTH, "corrupt", None, "source"),
    )
    return Finding(
        "bnb/missing-companion",
        "error",
        "model.layers.*.mlp.down_proj is stored as bnb-nf4 but has no absmax",
        8,
        places,
        {"scheme": "bnb-nf4", "role": "absmax", "shape": (4096, 14336)},
        outcomes,
        None,
        "3f1c9a5de2b07d41",
        "model.layers.*.mlp.down_proj",
    )


def misnamed() -> Finding:
    fix = Fix("Rename the directory to Llama-3.1-8B-bnb-4bit", "unsafe", (JsonSet("config.json", "/a", 1),))
    outcome = LoaderOutcome(UNSLOTH, "wrong-precision", None, "observed")
    message = "the directory's name does not end in -bnb-4bit, so Unsloth reads these 4-bit weights as 16-bit"
    return Finding("naming/missing-suffix", "error", message, 1, (), {}, (outcome,), fix, "77aa0c3b9b1f2210")


def activation() -> Finding:
    place = Location("config.json", pointer="/hidden_act", line=12, column=17)
    message = "hidden_act is 'silu2', which is no activation that transformers knows"
    outcome = LoaderOutcome(TRANSFORMERS, "fails", "KeyError: 'silu2'", "source")
    rule = "config/unknown-activation"
    return Finding(
        rule, "warning", message, 1, (place,), {"got": "silu2"}, (outcome,), None, "0b54e81a7cc2aa10"
    )


def no_format() -> Finding:
    place = Location("model-00002-of-00002.safetensors")
    message = "the header has no __metadata__, so its format is not stated"
    fix = Fix("Set format to pt in the header's metadata", "safe", (JsonSet("config.json", "/a", 1),))
    return Finding(
        "container/metadata-missing", "note", message, 1, (place,), {}, (), fix, "99c09e1a7cc2aa10"
    )


def broken() -> Report:
    findings = (missing_absmax(), misnamed(), activation(), no_format())
    companion = missing_absmax()
    verdicts = (
        Verdict(TRANSFORMERS, "fails", None, (companion.rule,), "observed", reason=companion.message),
        Verdict(VLLM, "fails", None, (companion.rule,), "observed", reason=companion.message),
        Verdict(
            UNSLOTH,
            "wrong-precision",
            "bf16",
            (misnamed().rule,),
            "observed",
            sampled=True,
            reason=misnamed().message,
        ),
    )
    skips = (
        Skip("config/remote-code", "abstained", "the model's class is remote code, which is never run"),
        Skip("structure/shapes", "abstained", "the model's class is remote code, which is never run"),
        Skip("values/nested-offset", "blind", "model-00002-of-00002.safetensors is an LFS pointer"),
        Skip("adapter/rank", "not-applicable", "no adapter_config.json"),
    )
    return Report(
        "./models/Llama-3.1-8B-quantised",
        findings,
        verdicts,
        skips,
        (),
        ("bnb-nf4", "bf16"),
        READ,
        5_702_774_784,
        rules_run=63,
    )


def hostile() -> Report:
    """A checkpoint whose names try to write on the terminal."""
    name = "\x1b[2J\x1b]0;owned\x07model.\u202egnp.0.weight\r\n"
    place = Location("mo\x1bdel\udcff.safetensors", tensor=name)
    finding = Finding(
        "container/overlap",
        "error",
        f"{name} overlaps 层.权重",
        1,
        (place,),
        {"first": name},
        (),
        None,
        "f" * 16,
    )
    crash = Crash("bnb/\x1b[31mrule", "ValueError: \x9b31m")
    return Report("./\x1b[31mred", (finding,), (), (), (crash,), ("bf16",), BytesRead(), rules_run=3)


def nothing() -> Report:
    why = "no safetensors file, shard index, config.json or adapter_config.json here"
    return Report("./empty", (), (), (), (), (), BytesRead(), nothing=why)


def unknown() -> Report:
    note = "LlamaNewForCausalLM is a class this version does not know"
    verdict = Verdict(VLLM, "unknown", None, (), "assumed", needs=("vllm-bnb-plugin",), reason=note)
    ok = Verdict(TRANSFORMERS, "ok", "mixed(bf16,bnb-nf4)", (), "source")
    return Report(
        "./new-model", (), (ok, verdict), (), (), ("bnb-nf4", "bf16"), READ, 812_000_000, rules_run=63
    )
