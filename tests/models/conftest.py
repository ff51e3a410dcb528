from __future__ import annotations

from pathlib import Path

import pytest

from .tiny import TinyModel, bert_tokenizer, byte_tokenizer, make_encoder, make_reader, make_sentiment


@pytest.fixture
def tiny_encoder(tmp_path: Path) -> TinyModel:
    return make_encoder(tmp_path / "encoder")


@pytest.fixture
def tiny_reader(tmp_path: Path) -> TinyModel:
    return make_reader(tmp_path / "reader")


@pytest.fixture
def tiny_sentiment(tmp_path: Path) -> TinyModel:
    return make_sentiment(tmp_path / "sentiment")


@pytest.fixture(scope="session")
def bert_config() -> dict[str, int]:
    return {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 64,
    }


def save_pretrained(kind: str, folder: Path, config: dict[str, int], **more: object) -> Path:
    """A tiny randomly initialised BERT of that class in transformers' form, with its tokenizer."""
    transformers = pytest.importorskip("transformers", reason="needs the extra torch")
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    torch.manual_seed(0)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bert_tokenizer(),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    settings = transformers.BertConfig(vocab_size=len(tokenizer), pad_token_id=0, **config, **more)
    getattr(transformers, kind)(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory, bert_config: dict[str, int]) -> Path:
    return save_pretrained("BertForQuestionAnswering", tmp_path_factory.mktemp("bert") / "reader", bert_config)


@pytest.fixture(scope="session")
def bert_encoder_folder(tmp_path_factory: pytest.TempPathFactory, bert_config: dict[str, int]) -> Path:
    return save_pretrained("BertModel", tmp_path_factory.mktemp("bert") / "encoder", bert_config)


@pytest.fixture(scope="session")
def bert_sentiment_folder(tmp_path_factory: pytest.TempPathFactory, bert_config: dict[str, int]) -> Path:
    labels = {0: "NEGATIVE", 1: "POSITIVE"}
    folder = tmp_path_factory.mktemp("bert") / "sentiment"
    return save_pretrained("BertForSequenceClassification", folder, bert_config, id2label=labels)


@pytest.fixture(scope="session")
def gpt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers", reason="needs the extra torch")
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gpt") / "generator"
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(), pad_token="<|pad|>", eos_token="<|end|>"
    )
    settings = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=256, n_embd=16, n_layer=1, n_head=2, eos_token_id=3, bos_token_id=1
    )
    transformers.GPT2LMHeadModel(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
