"""A causal language model: dialogue with personas and a context window, or plain text; fine-tuned or from nothing.

Dialogue is written `<|persona|><|user|>words<|bot|>words<|end|>`, and the loss is taken on the bot's words. Plain text is cut into
blocks of `max_length` tokens, each text ended by `<|end|>`, and the loss is taken on all of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from botkit.data.jsonl import objects, read_text
from botkit.data.rows import Row, check, kind_of
from botkit.errors import DataError, ModelError
from botkit.training.generator import PERSONAS, SPECIAL
from botkit.training.recipe import HUB, SCRATCH, Recipe, SourceConfig
from botkit.training.tasks.common import (
    Setup,
    SourcedRow,
    hub_rows,
    load_model,
    simplify,
    tell_broken,
    validation_split,
    with_dropout,
)

PAD, USER, BOT, END = "<|pad|>", "<|user|>", "<|bot|>", "<|end|>"
_IGNORED: Final = -100
TEMPLATE: Final = (
    "<|{{ persona | default('friendly') }}|>{% for message in messages %}{% if message.role == 'user' %}"
    "<|user|>{{ message.content }}{% elif message.role == 'assistant' %}<|bot|>{{ message.content }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
"""How `TransformersGenerator` writes a conversation for a model trained here."""
_DEFAULT: Final = "friendly"


def setup(recipe: Recipe, base: Path | None) -> Setup:
    """Dialogues, small-talk intents and texts as token ids; the validation loss is to shrink."""
    import torch
    import transformers

    generator = random.Random(recipe.seed)
    read = [row for source in recipe.data.train for row in _read(source, generator)]
    valid = [Row(row.values, row.place) for source in recipe.data.valid for row in _read(source, generator)]
    if not recipe.data.valid:
        plain = [Row(row.values, row.place) for row in read]
        kept, held_back = validation_split(plain, recipe.data, "dialogue", recipe.seed)
        read, valid = [read[i] for i in kept], [plain[i] for i in held_back]
    rows = [Row(row.values, row.place) for row in read for _ in range(row.source.repeat)]
    if recipe.base == SCRATCH:
        tokenizer = new_tokenizer(rows, recipe.scratch.vocabulary)
        torch.manual_seed(recipe.seed)
        model = new_model(recipe, tokenizer)
        length = recipe.max_length
    else:
        assert base is not None
        from botkit.models import recurrent  # noqa: F401  (so that a recurrent base loads)

        model, tokenizer = load_model("AutoModelForCausalLM", base, **_dropouts(base, recipe))
        _looks_back_only(model, base)
        _add_special(model, tokenizer)
        positions = getattr(model.config, "n_positions", None) or getattr(model.config, "max_position_embeddings", None)
        length = min(recipe.max_length, positions or recipe.max_length)
    ends = [tokenizer.convert_tokens_to_ids(END), tokenizer.eos_token_id]
    model.generation_config.eos_token_id = sorted({one for one in ends if one is not None})
    if any("turns" in row.values for row in rows):
        tokenizer.chat_template = TEMPLATE
    train_ids = encode(rows, tokenizer, length)
    valid_ids = encode(valid, tokenizer, length)
    if not train_ids or not valid_ids:
        raise DataError("Nothing to learn is left: every text is empty once it is cut to max_length.")
    pad = tokenizer.pad_token_id

    def collator(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(one["input_ids"]) for one in found)
        fill = {"input_ids": pad, "labels": _IGNORED, "attention_mask": 0}
        return {
            name: torch.tensor(
                [
                    list(one.get(name, [1] * len(one["input_ids"]))) + [value] * (width - len(one["input_ids"]))
                    for one in found
                ]
            )
            for name, value in fill.items()
        }

    class GeneratorTrainer(transformers.Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            # only the positions with a label go through the output layer, which is most of the work of a small model
            labels = inputs["labels"]
            outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
            counted = labels[:, 1:] != _IGNORED
            logits = outputs.logits[:, :-1][counted].float()
            smoothing = recipe.label_smoothing if model.training else 0.0
            loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:][counted], label_smoothing=smoothing)
            return (loss, outputs) if return_outputs else loss

    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Setup(
        model=model,
        tokenizer=tokenizer,
        train=train_ids,
        valid=valid_ids,
        collator=collator,
        metric="loss",
        greater_is_better=False,
        trainer=GeneratorTrainer,
        arguments={"prediction_loss_only": True, "label_names": ["labels"], "remove_unused_columns": False},
        facts={"train_rows": len(rows), "valid_rows": len(valid), "parameters": parameters},
    )


def _read(source: SourceConfig, generator: random.Random) -> list[SourcedRow]:
    broken: list[DataError] = []
    if source.path.startswith(HUB):
        rows = hub_rows(source.path, "text")
    else:
        path = Path(source.path)
        rows = []
        for line, values in objects(path, read_text(path)):
            try:
                rows += _rows_of(values, f"{path}:{line}", generator)
            except DataError as error:
                if source.broken == "error":
                    raise
                broken.append(error)
    tell_broken(broken)
    if source.limit and len(rows) > source.limit:
        rows = generator.sample(rows, source.limit)
    found = [SourcedRow(row.values, row.place, source) for row in rows]
    return [simplified for row in found if (simplified := simplify(row))] if source.simplify else found


def _rows_of(values: dict[str, Any], place: str, generator: random.Random) -> Iterator[Row]:
    """A dialogue, a text, or the dialogues of an intent: each of its questions with one persona's answer."""
    if isinstance(values.get("questions"), list) and isinstance(values.get("answers"), dict) and values["answers"]:
        for question in values["questions"]:
            persona = generator.choice(sorted(values["answers"]))
            turns = {"turns": [str(question), str(values["answers"][persona])], "persona": persona}
            yield Row({**turns, "lang": values.get("lang")}, place)
        return
    kind = kind_of(values)
    if kind not in ("dialogue", "text", "labelled"):
        raise DataError(f'{place}: neither {{"turns"}}, {{"text"}} nor {{"questions", "answers"}}.')
    check(values, "dialogue" if kind == "dialogue" else "text", place)
    persona = values.get("persona", _DEFAULT)
    if persona not in PERSONAS:
        raise DataError(f"{place}: the persona {persona!r} is not among {', '.join(PERSONAS)}.")
    yield Row(values, place)


def encode(rows: Sequence[Row], tokenizer: Any, length: int) -> list[dict[str, Any]]:
    """Token ids and labels (-100 where no loss is taken), each at most `length` long."""
    found = []
    stream: list[int] = []
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    for row in rows:
        if "turns" in row.values:
            persona = ids[f"<|{row.values.get('persona', _DEFAULT)}|>"]
            found += list(_dialogue(row.values["turns"], tokenizer, ids, persona, length))
        else:
            stream += [*tokenizer(row.values["text"], add_special_tokens=False)["input_ids"], ids[END]]
    for at in range(0, len(stream), length):
        block = stream[at : at + length]
        if len(block) > 1:
            found.append({"input_ids": block, "labels": list(block)})
    return found


def _dialogue(
    turns: Sequence[str], tokenizer: Any, ids: dict[str, int], persona: int, length: int
) -> Iterator[dict[str, Any]]:
    """Windows of a dialogue: each begins with the persona and looks back on as many exchanges as fit in half of it."""
    exchanges = []
    for at in range(0, len(turns) - 1, 2):
        asked = [ids[USER], *tokenizer(turns[at], add_special_tokens=False)["input_ids"], ids[BOT]]
        told = [*tokenizer(turns[at + 1], add_special_tokens=False)["input_ids"], ids[END]]
        exchanges.append((asked, told))
    begin = 0
    while begin < len(exchanges):
        back, room = begin, length // 2
        while back > 0 and sum(map(len, exchanges[back - 1])) <= room:
            back -= 1
            room -= sum(map(len, exchanges[back]))
        tokens, labels = [persona], [_IGNORED]
        for asked, told in exchanges[back:begin]:
            tokens += asked + told
            labels += [_IGNORED] * (len(asked) + len(told))
        first = begin
        while begin < len(exchanges):
            asked, told = exchanges[begin]
            if begin > first and len(tokens) + len(asked) + len(told) > length:
                break
            tokens += asked + told
            labels += [_IGNORED] * len(asked) + told
            begin += 1
        tokens, labels = tokens[:length], labels[:length]
        if any(label != _IGNORED for label in labels):
            yield {"input_ids": tokens, "labels": labels}


def new_tokenizer(rows: Sequence[Row], size: int) -> Any:
    """Byte-level BPE (Sennrich et al. 2016) over the training texts, so that it can spell anything."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    texts = (text for row in rows for text in row.values.get("turns", [row.values.get("text", "")]))
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(texts, trainer)
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=plain, pad_token=PAD, eos_token=END, bos_token=END)


def new_model(recipe: Recipe, tokenizer: Any) -> Any:
    """A GPT-2, GRU or LSTM of the recipe's shape, with fresh weights."""
    import transformers

    from botkit.models.recurrent import RecurrentConfig, RecurrentForCausalLM

    shape = recipe.scratch
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    dropout = 0.1 if recipe.dropout is None else recipe.dropout
    size = len(tokenizer)
    if shape.architecture != "transformer":
        return RecurrentForCausalLM(
            RecurrentConfig(size, shape.width, shape.layers, shape.architecture, dropout, **ends)
        )
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=size,
            n_positions=recipe.max_length,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=0.0,
            **ends,
        )
    )


def _dropouts(base: Path, recipe: Recipe) -> dict[str, float]:
    import transformers

    known = transformers.AutoConfig.from_pretrained(base).to_dict()
    names = ("resid_pdrop", "embd_pdrop", "dropout", "attention_dropout", "hidden_dropout")
    return with_dropout(recipe.dropout, [name for name in names if name in known])


def _looks_back_only(model: Any, base: Path) -> None:
    """Raise `ModelError` for an encoder: its layers see the words that a generator has to foresee."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    kind = model.config.model_type
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(model.config, "is_decoder", False):
        raise ModelError(
            f"{base}: a {kind} model reads in both directions and cannot generate. Choose a language model as the base "
            "(such as GPT-2 or builtin), or scratch."
        )


def _add_special(model: Any, tokenizer: Any) -> None:
    """The marks of dialogue as special tokens, where the base lacks them."""
    lacking = [token for token in SPECIAL if token not in tokenizer.get_vocab()]
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or PAD
    if lacking:
        tokenizer.add_special_tokens({"additional_special_tokens": lacking})
        model.resize_token_embeddings(len(tokenizer))
