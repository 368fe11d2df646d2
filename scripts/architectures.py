"""Write `rules/architectures/*.yaml`: which tensors each architecture expects, read off transformers itself.

Run in an environment with torch 2.13.0 and transformers 5.23.0 (ckptdoctor itself needs neither):

    pip install torch==2.13.0 && pip install transformers==5.23.0 pillow msgspec jsonschema PyYAML
    python scripts/architectures.py                     # every architecture of the catalogue
    python scripts/architectures.py LlamaForCausalLM    # one
    python scripts/architectures.py --check             # verify the files against transformers, write nothing

A class of `blueprints/vllm/catalogue.py` is read off vLLM, in an environment of `tests/observe/setup_vllm.sh`.

How: each class is built without memory (meta device) for some seventy random small configurations. From the names
and shapes seen, the simplest formulas, conditions and index ranges that explain *all* of them are kept; what has
no such explanation is left out (`?` for a shape, no file for an architecture). The result is then evaluated by
ckptdoctor's own reader on further random configurations, with keys left out, set to null or under another name,
and must give exactly the names, shapes and ties that transformers builds and saves. `verified` counts those.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

from blueprints.catalogue import Recipe, recipe_of  # noqa: E402
from blueprints.defaults import key_rules, put, without  # noqa: E402
from blueprints.derive import Row, Unfit, rows, used_keys  # noqa: E402
from blueprints.edges import edge_cases  # noqa: E402
from blueprints.every import every_class  # noqa: E402
from blueprints.fields import fields_of  # noqa: E402
from blueprints.kinds import kinds_of  # noqa: E402
from blueprints.layout import blueprint_of, dump  # noqa: E402
from blueprints.names import native_differences, respelled, ties  # noqa: E402
from blueprints.observation import Observation  # noqa: E402
from blueprints.observe import described, observe  # noqa: E402
from blueprints.sample import HEADS, WIDTHS, draw  # noqa: E402
from blueprints.sensitivity import required  # noqa: E402
from blueprints.verify import disagreement  # noqa: E402

from ckptdoctor.expected.blueprint import expected, starred  # noqa: E402

OUT = ROOT / "rules" / "architectures"
SAMPLES, CHECKS = 64, 12


def observations(name: str, recipe: Recipe, rng: random.Random, wanted: int) -> Iterator[Observation]:
    """Yield models for random configurations; raises Unfit when transformers refuses too many of them."""
    config_class = described(name).config_class
    refused: list[str] = []
    seen = 0
    while seen < wanted:
        try:
            observation = observe(name, draw(config_class, rng, recipe))
        except Exception as error:
            refused.append(f"{type(error).__name__}: {error}"[:300])
            if len(refused) > 4 * wanted:
                raise Unfit(f"transformers refuses most configurations: {refused[-1]}") from error
            continue
        seen += 1
        yield observation


def derive(name: str, recipe: Recipe) -> dict[str, Any]:
    """Derive the blueprint of one architecture, backbone by backbone; raises Unfit where it cannot be described."""
    recipes = [{**recipe, "backbone": each} for each in recipe.get("backbones", [{}])]
    first, *others = [derive_one(name, each) for each in recipes]
    if others:
        shared = ("architecture", "model_types", "evidence")
        first["otherwise"] = [{**dict.fromkeys(first.keys() - each.keys()), **each} for each in others]
        for each in first["otherwise"]:
            for key in (*shared, "otherwise"):
                each.pop(key, None)
    return first


def derive_one(name: str, recipe: Recipe, seed: int = 1) -> dict[str, Any]:
    """Derive the blueprint of one architecture with one choice of backbones."""
    seen = list(observations(name, recipe, random.Random(seed), recipe.get("samples", SAMPLES)))
    renamed, fused = native_differences(seen)
    kinds = _kinds(seen, renamed, fused)
    found = rows(seen, [o.released for o in seen], kinds, recipe.get("constants", False))
    blocks = rows(seen, [{n: s for n, s in o.native.items() if starred(n)[0] in fused} for o in seen], kinds)
    tied = ties(seen, renamed)
    keys = used_keys([*found, *blocks], tied)
    config_class = described(name).config_class
    rules = key_rules(config_class, keys, seen, [*found, *blocks], recipe.get("flat"))
    rules["ignored"] = sorted({starred(tensor)[0] for o in seen for tensor in o.forgiven})
    rules["kinds"] = kinds_of(config_class, [*found, *blocks], seen)
    requires = required(name, keys, {row.template for row in found if row.dims == ["?"]}, seen)
    requires |= _sections(config_class, seen)
    if recipe.get("plain_names"):
        requires |= {name: [] for names in rules.pop("alias").values() for name in names}
    requires |= _words(found, seen)
    return blueprint_of(name, recipe, seen[0].model, found, blocks, fused, renamed, tied, rules, requires)


def _kinds(
    seen: Sequence[Observation], renamed: dict[str, str], fused: dict[str, list[str]]
) -> dict[str, str]:
    """The kind of each tensor, under the names in memory and the saved ones."""
    kinds = {starred(n)[0]: kind for o in seen for n, kind in o.kinds.items()}
    for there, here in {t: s for o in seen[:4] for t, s in _spellings(o, renamed).items()}.items():
        kinds.setdefault(here, kinds.get(there, "other"))
    for template, parts in fused.items():
        kinds.update(dict.fromkeys(parts, kinds.get(template, "other")))
    return kinds


def _sections(config_class: Any, seen: Sequence[Observation]) -> dict[str, list[Any]]:
    """The backbones tried, where a class takes any, and the sections that were left out."""
    open_to_any = [key for key, inner in config_class.sub_configs.items() if inner.__name__ == "AutoConfig"]
    backbones = {
        f"{key}.model_type": sorted({o.config[key]["model_type"] for o in seen})
        for key in open_to_any
        if isinstance(seen[0].config.get(key), dict)
    }
    left_out = [k for k, v in seen[0].config.items() if k.endswith("_config") and v is None]
    return {**backbones, **{key: [None] for key in left_out}}


def _words(found: Sequence[Row], seen: Sequence[Observation]) -> dict[str, list[Any]]:
    """The words tried, where a condition goes by one."""
    keys = dict.fromkeys(k for row in found for k, wanted in row.when.items() if isinstance(wanted, str))
    return {key: sorted({o.env[key] for o in seen}) for key in keys}


def _spellings(seen: Observation, renamed: dict[str, str]) -> dict[str, str]:
    return {starred(n)[0]: respelled(starred(n)[0], renamed) for n in seen.native}


def verify(name: str, recipe: Recipe, blueprint: dict[str, Any], seed: int = 2) -> int:
    """Count fresh configurations on which blueprint and transformers agree; raises Unfit at the first that differs."""
    rng = random.Random(seed)
    agreed, tried, reason = 0, 0, ""
    config_class = described(name).config_class
    while agreed < CHECKS and tried < 12 * CHECKS:
        tried += 1
        config = draw(config_class, rng, {**recipe, "backbone": rng.choice(recipe.get("backbones", [{}]))})
        _disguise(config, config_class, blueprint, rng)
        result = expected(blueprint, copy.deepcopy(config))
        if isinstance(result, str):
            reason = result
            continue
        try:
            seen = observe(name, config)
        except Exception:
            continue
        if problem := disagreement(result, seen):
            raise Unfit(f"verification: {problem}; config {_brief(config, blueprint)}")
        agreed += 1
    if agreed < 3:
        raise Unfit(f"verification: only {agreed} of {tried} configurations could be compared; {reason}")
    return agreed + _verify_edges(name, recipe, blueprint, rng)


def _verify_edges(name: str, recipe: Recipe, blueprint: dict[str, Any], rng: random.Random) -> int:
    """Count edge cases (`edges.py`) on which both agree; says where the reader abstains on one that builds."""
    agreed, abstained = 0, {}
    for label, config in edge_cases(described(name).config_class, recipe, blueprint, rng):
        try:
            seen = observe(name, copy.deepcopy(config))
        except Exception:
            continue
        result = expected(blueprint, config)
        if isinstance(result, str):
            abstained[label] = result
        elif problem := disagreement(result, seen):
            raise Unfit(f"verification, {label}: {problem}")
        else:
            agreed += 1
    if abstained:
        print(f"{name}: no answer for {abstained}", file=sys.stderr)
    return agreed


def _disguise(
    config: dict[str, Any], config_class: Any, blueprint: dict[str, Any], rng: random.Random
) -> None:
    """Leave out, null or rename a few keys, as real files do."""
    absent, none, alias = (blueprint.get(part, {}) for part in ("absent", "none", "alias"))
    for key in {**absent, **none, **alias}:
        chance = rng.random()
        if chance < 0.12 and key in absent and key.rpartition(".")[2] not in (*WIDTHS, *HEADS):
            without(config, key)
        elif chance < 0.2 and key in none:
            put(config, key, None)
        elif chance < 0.5 and key in alias:
            _rename(config, key, alias[key], rng)
    flat = blueprint.get("flat")
    if flat and rng.random() < 0.5:
        section = config.pop(flat)
        config.update({k: v for k, v in section.items() if k not in config or k == "tie_word_embeddings"})


def _rename(config: dict[str, Any], key: str, names: list[str], rng: random.Random) -> None:
    """Put the value of a dotted key under another of its names."""
    *sections, leaf = key.split(".")
    place = config
    for section in sections:
        place = place[section]
    if leaf in place:
        put(config, rng.choice(names), place.pop(leaf))


def _brief(config: dict[str, Any], blueprint: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k in blueprint.get("absent", {}) or isinstance(v, dict)}


def main() -> int:
    """Derive, verify and write; exit 1 if any architecture of the catalogue could not be described."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="CLASS")
    parser.add_argument("--check", action="store_true", help="verify what is there, write nothing")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder to write to")
    parser.add_argument("--fields", action="store_true", help="write only the types of fields again")
    parser.add_argument("--trace", action="store_true", help="show where an architecture failed")
    options = parser.parse_args()
    failed = 0
    for name in options.names or every_class():
        recipe = recipe_of(name)
        path = options.out / f"{name}.yaml"
        try:
            there = options.check or options.fields
            blueprint = yaml.safe_load(path.read_text()) if there else derive(name, recipe)
            if not options.check:
                blueprint["fields"] = fields_of(described(name).config_class)
                if not blueprint["fields"]:
                    del blueprint["fields"]
            verified = (
                blueprint["evidence"]["verified"] if options.fields else verify(name, recipe, blueprint)
            )
        except Exception as error:
            failed += 1
            print(f"{name}: {type(error).__name__}: {error}"[:1500], file=sys.stderr)
            if options.trace:
                traceback.print_exc()
            continue
        blueprint["evidence"]["verified"] = verified
        if not options.check:
            path.write_text(dump(blueprint))
        print(f"{name}: {verified} configurations agree", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
