"""A recurrent language model (GRU or LSTM) in the form of transformers, to train from nothing and compare with a transformer.

`AutoModelForCausalLM.from_pretrained` loads it once this module is imported. Embeddings and output layer share their weights
(Press and Wolf 2017); hidden states are layer-normalised before the output.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


class RecurrentConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """Shape of a recurrent language model."""

    model_type = "botkit-recurrent"

    def __init__(
        self,
        vocab_size: int = 6000,
        hidden_size: int = 256,
        num_layers: int = 2,
        cell: str = "lstm",
        dropout: float = 0.1,
        **rest: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.num_hidden_layers = num_layers
        self.cell = cell
        self.dropout = dropout
        rest.setdefault("tie_word_embeddings", True)
        super().__init__(**rest)


class RecurrentForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """Embedding, GRU or LSTM, output layer; logits of shape (batch, length, vocabulary)."""

    config_class = RecurrentConfig
    base_model_prefix = "recurrent"
    _tied_weights_keys = {"lm_head.weight": "embedding.weight"}  # noqa: RUF012

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[config.cell]
        between = config.dropout if config.num_layers > 1 else 0.0
        self.cell = kind(config.hidden_size, config.hidden_size, config.num_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """The embedding table."""
        table: nn.Module = self.embedding
        return table

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding table."""
        self.embedding = value  # type: ignore[assignment]

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        layer: nn.Module = self.lm_head
        return layer

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.hidden_size**-0.5)

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and with labels (-100: not counted) the mean cross-entropy of the next token in nats.

        `past_key_values` is the state of the cells after what was read before; with `use_cache` the new one is returned.
        """
        hidden, state = self.cell(self.dropout(self.embedding(input_ids)), past_key_values)
        logits = self.lm_head(self.norm(self.dropout(hidden)))
        loss = None
        if labels is not None:
            shifted = logits[:, :-1].flatten(0, 1).float()
            loss = nn.functional.cross_entropy(shifted, labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=state if use_cache else None)

    def prepare_inputs_for_generation(self, input_ids: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """The whole text is read anew for each token; it is short, and the model small."""
        return {"input_ids": input_ids, "past_key_values": None, "use_cache": False}


AutoConfig.register(RecurrentConfig.model_type, RecurrentConfig)
AutoModelForCausalLM.register(RecurrentConfig, RecurrentForCausalLM)
