"""Every class that transformers' own tables name, those of the catalogue first."""

from __future__ import annotations

from collections.abc import Iterator

from .catalogue import CATALOGUE

_HEADS = (
    *("CAUSAL_LM", "MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT", "SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION"),
    *("SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "QUESTION_ANSWERING", "SPEECH_SEQ_2_SEQ", "CTC", "RETRIEVAL"),
    *("ZERO_SHOT_IMAGE_CLASSIFICATION", "AUDIO_CLASSIFICATION", "IMAGE_CLASSIFICATION", "PRETRAINING"),
    *("MULTIPLE_CHOICE", "NEXT_SENTENCE_PREDICTION"),
)


def every_class() -> Iterator[str]:
    """The catalogue, then every class that transformers' own tables of heads and base models name."""
    from transformers.models.auto import modeling_auto

    tables = [getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES") for head in _HEADS]
    tables += [modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES, modeling_auto.MODEL_MAPPING_NAMES]
    listed = [names for table in tables for names in table.values()]
    flat = [name for names in listed for name in ([names] if isinstance(names, str) else names)]
    yield from dict.fromkeys([*CATALOGUE, *flat])
